//! Writes checkpoints as `torch.save` does, honest ones and others.

use candle_core::{DType, Tensor};
use half::{bf16, f16};

use crate::golden::Tensors;

/// An opcode with a string behind it.
pub fn text(value: &str) -> Vec<u8> {
    let mut out = vec![b'X'];
    out.extend((value.len() as u32).to_le_bytes());
    out.extend(value.as_bytes());
    out
}

pub fn int(value: u64) -> Vec<u8> {
    let mut out = vec![0x8a, 8];
    out.extend(value.to_le_bytes());
    out
}

pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![b'('];
    out.extend(items.concat());
    out.push(b't');
    out
}

pub fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"}(".to_vec();
    for (key, value) in entries {
        out.extend(text(key));
        out.extend(value);
    }
    out.push(b'u');
    out
}

/// What `__reduce__` of a hostile object leaves: a global, its argument, a call.
pub fn reduce(module: &str, name: &str, argument: &str) -> Vec<u8> {
    [global(module, name), tuple(&[text(argument)]), b"R".to_vec()].concat()
}

/// What a tensor's pickle says of it.
pub struct View<'a> {
    pub class: &'a str,
    pub key: &'a str,
    pub elements: u64,
    pub first: u64,
    pub shape: &'a [u64],
    pub strides: &'a [u64],
}

impl View<'_> {
    pub fn pickle(&self) -> Vec<u8> {
        let numbers = |list: &[u64]| tuple(&list.iter().map(|n| int(*n)).collect::<Vec<_>>());
        let mut storage = tuple(&[
            text("storage"),
            global("torch", self.class),
            text(self.key),
            text("cpu"),
            int(self.elements),
        ]);
        storage.push(b'Q');
        let hooks = [global("collections", "OrderedDict"), b")R".to_vec()].concat();
        let arguments =
            tuple(&[storage, int(self.first), numbers(self.shape), numbers(self.strides), vec![0x89], hooks]);
        [global("torch._utils", "_rebuild_tensor_v2"), arguments, b"R".to_vec()].concat()
    }
}

/// A whole pickle around one value.
pub fn pickle(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02".as_slice(), value, b"."].concat()
}

/// A stored zip archive with `data.pkl` and storages.
pub fn archive(root: &str, pickle: &[u8], storages: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut entries = vec![("data.pkl".to_owned(), pickle.to_vec())];
    entries.extend(storages.iter().map(|(key, bytes)| (format!("data/{key}"), bytes.clone())));
    entries.push(("version".to_owned(), b"3\n".to_vec()));
    zip(&entries.into_iter().map(|(name, bytes)| (format!("{root}/{name}"), bytes)).collect::<Vec<_>>(), 0)
}

/// A zip archive whose entries claim this compression method.
pub fn zip(entries: &[(String, Vec<u8>)], method: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, bytes) in entries {
        let at = out.len() as u32;
        // Version, flags, method, time, date, checksum, both sizes, name's length, no extra field.
        let mut common = Vec::new();
        for field in [20, 0, method, 0, 0] {
            common.extend(field.to_le_bytes());
        }
        common.extend([0; 4]);
        common.extend((bytes.len() as u32).to_le_bytes());
        common.extend((bytes.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0; 2]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(bytes);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let at = out.len() as u32;
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0; 2]);
    out
}

/// A checkpoint as Lightning writes it: the model under `state_dict`, each tensor with its own storage.
pub fn lightning(tensors: &Tensors, dtype: DType) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut storages = Vec::new();
    for (key, (name, tensor)) in tensors.iter().enumerate() {
        let shape: Vec<u64> = tensor.dims().iter().map(|d| *d as u64).collect();
        let strides: Vec<u64> = (0..shape.len()).map(|i| shape[i + 1..].iter().product()).collect();
        let view = View {
            class: if dtype == DType::BF16 { "BFloat16Storage" } else { "HalfStorage" },
            key: &key.to_string(),
            elements: tensor.elem_count() as u64,
            first: 0,
            shape: &shape,
            strides: &strides,
        };
        entries.push((name.as_str(), view.pickle()));
        storages.push((key.to_string(), bytes(tensor, dtype)));
    }
    let whole = dict(&[("epoch", b"K\x03".to_vec()), ("state_dict", dict(&entries))]);
    archive("model", &pickle(&whole), &storages)
}

fn bytes(tensor: &Tensor, dtype: DType) -> Vec<u8> {
    let values = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    match dtype {
        DType::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
    }
}
