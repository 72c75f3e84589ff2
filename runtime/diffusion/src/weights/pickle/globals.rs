//! The closed list of globals, and what calling one of them means here.

use super::super::dtype::Dtype;
use super::super::header::MAX_RANK;
use super::arena::{Arena, Id, Node};
use super::error::PickleError;
use super::tensor::View;

/// A global that a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// `OrderedDict`, `dict`, `ParameterDict` and their kin: a dictionary when called.
    Dict,
    /// `torch._utils._rebuild_tensor` and `_v2`: storage, first element, shape, strides.
    Tensor,
    /// `torch._utils._rebuild_tensor_v3`: as above, the element type apart.
    TypedTensor,
    /// `torch._utils._rebuild_parameter`: a tensor that is trained.
    Parameter,
    /// `torch._tensor._rebuild_from_type_v2`: another of these with attributes.
    FromType,
    /// `torch.FloatStorage` and so on; `None` for the untyped one.
    Storage(Option<Dtype>),
    /// `torch.float32` and so on.
    Dtype(Dtype),
    /// `torch.Size`: its argument.
    Size,
    /// Calling it makes something harmless that is no part of a model.
    Maker,
    /// A class that stands as a key or a mark and is never called.
    Inert,
}

/// Most arguments of a call; `_rebuild_tensor_v3` has eight.
const MAX_ARGUMENTS: usize = 16;

use Global as G;

const TABLE: &[(&str, &str, Global)] = &[
    ("collections", "OrderedDict", G::Dict),
    ("collections", "defaultdict", G::Dict),
    ("__builtin__", "dict", G::Dict),
    ("builtins", "dict", G::Dict),
    ("torch.nn.modules.container", "ParameterDict", G::Dict),
    ("torch._utils", "_rebuild_tensor", G::Tensor),
    ("torch._utils", "_rebuild_tensor_v2", G::Tensor),
    ("torch._utils", "_rebuild_tensor_v3", G::TypedTensor),
    ("torch._utils", "_rebuild_parameter", G::Parameter),
    ("torch._utils", "_rebuild_parameter_with_state", G::Parameter),
    ("torch._tensor", "_rebuild_from_type_v2", G::FromType),
    ("torch", "DoubleStorage", G::Storage(Some(Dtype::F64))),
    ("torch", "FloatStorage", G::Storage(Some(Dtype::F32))),
    ("torch", "HalfStorage", G::Storage(Some(Dtype::F16))),
    ("torch", "BFloat16Storage", G::Storage(Some(Dtype::Bf16))),
    ("torch", "LongStorage", G::Storage(Some(Dtype::I64))),
    ("torch", "IntStorage", G::Storage(Some(Dtype::I32))),
    ("torch", "ShortStorage", G::Storage(Some(Dtype::I16))),
    ("torch", "CharStorage", G::Storage(Some(Dtype::I8))),
    ("torch", "ByteStorage", G::Storage(Some(Dtype::U8))),
    ("torch", "BoolStorage", G::Storage(Some(Dtype::Bool))),
    ("torch", "ComplexFloatStorage", G::Storage(Some(Dtype::C64))),
    ("torch.storage", "UntypedStorage", G::Storage(None)),
    ("torch", "UntypedStorage", G::Storage(None)),
    ("torch", "float64", G::Dtype(Dtype::F64)),
    ("torch", "float32", G::Dtype(Dtype::F32)),
    ("torch", "float16", G::Dtype(Dtype::F16)),
    ("torch", "bfloat16", G::Dtype(Dtype::Bf16)),
    ("torch", "float8_e4m3fn", G::Dtype(Dtype::F8E4m3)),
    ("torch", "float8_e5m2", G::Dtype(Dtype::F8E5m2)),
    ("torch", "int64", G::Dtype(Dtype::I64)),
    ("torch", "int32", G::Dtype(Dtype::I32)),
    ("torch", "int16", G::Dtype(Dtype::I16)),
    ("torch", "int8", G::Dtype(Dtype::I8)),
    ("torch", "uint8", G::Dtype(Dtype::U8)),
    ("torch", "uint16", G::Dtype(Dtype::U16)),
    ("torch", "uint32", G::Dtype(Dtype::U32)),
    ("torch", "uint64", G::Dtype(Dtype::U64)),
    ("torch", "bool", G::Dtype(Dtype::Bool)),
    ("torch", "Size", G::Size),
    ("torch", "device", G::Maker),
    ("__builtin__", "set", G::Maker),
    ("builtins", "set", G::Maker),
    ("_codecs", "encode", G::Maker),
    // Losses and step counts of Lightning's callbacks: their bytes are passed over.
    ("numpy", "dtype", G::Maker),
    ("numpy.core.multiarray", "scalar", G::Maker),
    ("numpy._core.multiarray", "scalar", G::Maker),
    ("numpy.core.multiarray", "_reconstruct", G::Maker),
    ("numpy._core.multiarray", "_reconstruct", G::Maker),
    ("numpy", "ndarray", G::Inert),
    ("torch", "Tensor", G::Inert),
    ("torch.nn.parameter", "Parameter", G::Inert),
    ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint", G::Inert),
    ("pytorch_lightning.callbacks.early_stopping", "EarlyStopping", G::Inert),
];

impl Global {
    /// The meaning of a global, and its name in the table.
    pub(super) fn find(module: &[u8], name: &[u8]) -> Option<(Self, &'static str)> {
        let row = TABLE.iter().find(|row| row.0.as_bytes() == module && row.1.as_bytes() == name);
        row.map(|row| (row.2, row.1))
    }
}

/// The value of `global(*args)`.
pub(super) fn call(
    arena: &mut Arena,
    (global, name): (Global, &'static str),
    args: Id,
    offset: usize,
) -> Result<Id, PickleError> {
    let refuse = |detail| PickleError::Call { global: name, offset, detail };
    let list = arena.items(args).ok_or_else(|| refuse("its arguments are no tuple"))?;
    if list.len() > MAX_ARGUMENTS {
        return Err(refuse("it has too many arguments"));
    }
    let list = list.to_vec();
    match global {
        Global::Dict => {
            let pairs =
                dict_entries(arena, &list).ok_or_else(|| refuse("its argument is no list of pairs"))?;
            arena.charge(pairs.len())?;
            arena.add(Node::Dict(pairs))
        }
        Global::Tensor | Global::TypedTensor => {
            let view = tensor(arena, global, &list).ok_or_else(|| refuse("its arguments make no tensor"))?;
            arena.add(Node::Tensor(Box::new(view)))
        }
        Global::Parameter => match list.first() {
            Some(first) if matches!(arena.get(*first), Node::Tensor(_)) => Ok(*first),
            _ => Err(refuse("its argument is no tensor")),
        },
        Global::FromType => match list.as_slice() {
            [function, _, inner, _] => match arena.get(*function).clone() {
                // Named one by one: a call of itself would be a recursion that the file controls.
                Node::Global(inside @ (Global::Tensor | Global::TypedTensor | Global::Parameter), name) => {
                    call(arena, (inside, name), *inner, offset)
                }
                _ => Err(refuse("it rebuilds no tensor")),
            },
            _ => Err(refuse("it has four arguments")),
        },
        Global::Size => list.first().copied().ok_or_else(|| refuse("it has no argument")),
        Global::Maker => arena.add(Node::Opaque),
        Global::Storage(_) | Global::Dtype(_) | Global::Inert => Err(refuse("it is not to be called")),
    }
}

/// `BUILD`: attributes. Only those that hold parameters are kept.
pub(super) fn build(
    arena: &mut Arena,
    bytes: &[u8],
    object: Id,
    state: Id,
    offset: usize,
) -> Result<(), PickleError> {
    match arena.get(object) {
        Node::Opaque | Node::Tensor(_) => return Ok(()),
        Node::Dict(_) => {}
        _ => return Err(PickleError::Malformed { offset, detail: "attributes are set on what has none" }),
    }
    let Node::Dict(attributes) = arena.get(state) else { return Ok(()) };
    let cost = attributes.len();
    arena.charge(cost)?;
    let Node::Dict(attributes) = arena.get(state) else { return Ok(()) };
    let is_parameters = |key: Id| matches!(arena.get(key), Node::Str(range) if bytes.get(range.clone()) == Some(b"_parameters"));
    let found = attributes.iter().find(|(key, _)| is_parameters(*key)).map(|(_, value)| *value);
    let Some(Node::Dict(parameters)) = found.map(|id| arena.get(id)) else { return Ok(()) };
    let parameters = parameters.clone();
    arena.charge(parameters.len())?;
    if let Node::Dict(entries) = arena.get_mut(object) {
        entries.extend(parameters);
    }
    Ok(())
}

/// No argument, or one list of pairs; `defaultdict` has a class there.
fn dict_entries(arena: &Arena, args: &[Id]) -> Option<Vec<(Id, Id)>> {
    let Some(first) = args.first() else { return Some(Vec::new()) };
    match arena.get(*first) {
        Node::Global(..) | Node::None => Some(Vec::new()),
        Node::Dict(entries) => Some(entries.clone()),
        Node::List(items) | Node::Tuple(items) => items
            .iter()
            .map(|pair| match arena.items(*pair)? {
                [key, value] => Some((*key, *value)),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn tensor(arena: &Arena, global: Global, args: &[Id]) -> Option<View> {
    let [storage, first, shape, strides, ..] = args else { return None };
    let Node::Storage(storage) = arena.get(*storage) else { return None };
    if [shape, strides].iter().any(|id| arena.items(**id).is_none_or(|items| items.len() > MAX_RANK)) {
        return None;
    }
    let dtype = match (global, args.get(6).map(|id| arena.get(*id))) {
        (Global::TypedTensor, Some(Node::Global(Global::Dtype(dtype), _))) => *dtype,
        (Global::TypedTensor, _) => return None,
        _ => storage.dtype?,
    };
    Some(View {
        storage: storage.as_ref().clone(),
        dtype,
        first: arena.count(*first)?,
        shape: arena.items(*shape)?.iter().map(|id| arena.count(*id)).collect::<Option<_>>()?,
        strides: arena.items(*strides)?.iter().map(|id| arena.int(*id)).collect::<Option<_>>()?,
    })
}
