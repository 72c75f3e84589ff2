//! A PyTorch checkpoint rewritten as safetensors, tensor by tensor.
//!
//! The restricted reader ([`super::read_pickle`]) says what is in it; nothing is run. Names stay as they
//! are below `state_dict`, tensors that share a storage each get bytes of their own, scattered ones are
//! laid out row by row. Element types stay, except that f64 becomes f32, which is all that models use.
//! What the file says beside its tensors (a hypernetwork's `activation_func`, an embedding's `name`)
//! becomes metadata, where this crate's readers look for it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::dtype::Dtype;
use super::header::{Header, MAX_TENSORS, TensorEntry};
use super::params::WeightError;
use super::read::TensorReader;
use super::safetensors::{Outline, SafetensorsWriter, WriteError, in_file_order};
use super::store::read_header;

/// Bytes that are copied at once: enough for the disk, little against any tensor that matters.
const CHUNK: usize = 4 << 20;
/// Most texts, and most bytes of them together, that become metadata.
const MAX_TEXTS: usize = 256;
const MAX_TEXT_BYTES: usize = 64 << 10;
/// What a textual inversion of the web UI keeps its vectors under, and the safetensors name for them.
const EMBEDDING: (&str, &str) = ("string_to_param.", "emb_params");

/// What a file may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvertLimits {
    /// Bytes of all tensors; those that share a storage count each, so this may exceed the pickle's size.
    pub max_bytes: u64,
    pub max_tensors: usize,
}

impl Default for ConvertLimits {
    /// 64 GiB, which is eight times the largest model that this crate loads, and 200,000 tensors.
    fn default() -> Self {
        Self { max_bytes: 64 << 30, max_tensors: MAX_TENSORS }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    pub tensors: u64,
    /// Tensors that are no part of a model and were left out: ids of an embedding's token.
    pub left_out: u64,
    /// Tensors that were f64 and are f32.
    pub narrowed: u64,
    /// Size of the new file.
    pub size_bytes: u64,
    /// Of the new file, in lower-case hex.
    pub sha256: String,
}

/// Why a file is not converted. Nothing was written under the new name.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    #[error(transparent)]
    Weights(Box<WeightError>),
    #[error("{path} is safetensors already: use it as it is")]
    NotAPickle { path: String },
    #[error("{path} holds no tensors: it is no model; was it saved without its weights?")]
    Empty { path: String },
    #[error("{path} would become {size} bytes of tensors, the limit is {limit}")]
    TooLarge { path: String, size: u64, limit: u64 },
    #[error("{path} holds {count} tensors, the limit is {limit}")]
    TooManyTensors { path: String, count: usize, limit: usize },
    #[error("{path} has a tensor of the name `__metadata__`, which safetensors keep for something else")]
    ReservedName { path: String },
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the conversion was stopped")]
    Stopped,
}

impl From<WeightError> for ConvertError {
    fn from(error: WeightError) -> Self {
        Self::Weights(Box::new(error))
    }
}

impl ConvertError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Weights(e) => e.reason(),
            Self::NotAPickle { .. } => "NotAPickle",
            Self::Empty { .. } => "NoTensors",
            Self::TooLarge { .. } => "ModelTooLarge",
            Self::TooManyTensors { .. } => "TooManyTensors",
            Self::ReservedName { .. } => "InvalidPickle",
            Self::Write(e) => e.reason(),
            Self::Stopped => "Interrupted",
        }
    }

    /// Only what the disk did, or who stopped it, may go away by itself.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Weights(e) => e.retriable(),
            Self::Write(e) => e.retriable(),
            Self::Stopped => true,
            Self::NotAPickle { .. }
            | Self::Empty { .. }
            | Self::TooLarge { .. }
            | Self::TooManyTensors { .. }
            | Self::ReservedName { .. } => false,
        }
    }
}

/// Rewrites the pickle `from` as the safetensors file `to`, which appears only when it is whole and on
/// the disk. Memory: a few megabytes, whatever the size of the tensors.
///
/// # Errors
/// `from` is no pickle, asks for something that is not on the list, is damaged or beyond the limits, or
/// `to` cannot be written.
pub fn convert(from: &Path, to: &Path, limits: &ConvertLimits) -> Result<Converted, ConvertError> {
    convert_observed(from, to, limits, &mut |_, _| ControlFlow::Continue(()))
}

/// [`convert`], telling `observer` the bytes of tensors that are written and that will be; it may stop it.
///
/// # Errors
/// As for [`convert`], and [`ConvertError::Stopped`].
pub fn convert_observed(
    from: &Path,
    to: &Path,
    limits: &ConvertLimits,
    observer: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Converted, ConvertError> {
    let file = read_header(from)?;
    let path = || from.display().to_string();
    if !file.is_pickle {
        return Err(ConvertError::NotAPickle { path: path() });
    }
    let count = file.header.tensors.len();
    if count == 0 {
        return Err(ConvertError::Empty { path: path() });
    }
    if count > limits.max_tensors {
        return Err(ConvertError::TooManyTensors { path: path(), count, limit: limits.max_tensors });
    }
    let (header, reader) = TensorReader::open(file)?;
    let names = names_of(&header);
    if names.contains_key("__metadata__") {
        return Err(ConvertError::ReservedName { path: path() });
    }
    let mut outlines: Vec<Outline> =
        names.iter().map(|(new, old)| outline(new, &header.tensors[*old])).collect();
    in_file_order(&mut outlines);
    let total = outlines.iter().map(Outline::bytes).fold(0, u64::saturating_add);
    if total > limits.max_bytes {
        return Err(ConvertError::TooLarge { path: path(), size: total, limit: limits.max_bytes });
    }
    let mut writer = SafetensorsWriter::create(to, &outlines, &metadata_of(&header))?;
    let mut done = 0;
    for outline in &outlines {
        let entry = &header.tensors[names[outline.name.as_str()]];
        copy(&reader, entry, &mut |bytes| {
            writer.write(bytes)?;
            done += bytes.len() as u64;
            if observer(done, total).is_break() { Err(ConvertError::Stopped) } else { Ok(()) }
        })?;
    }
    let (size_bytes, sha256) = writer.finish()?;
    let narrowed = names.values().filter(|old| header.tensors[**old].dtype == Dtype::F64).count() as u64;
    let tensors = outlines.len() as u64;
    Ok(Converted { tensors, left_out: count as u64 - tensors, narrowed, size_bytes, sha256 })
}

fn outline(name: &str, entry: &TensorEntry) -> Outline {
    let dtype = if entry.dtype == Dtype::F64 { Dtype::F32 } else { entry.dtype };
    Outline { name: name.to_owned(), dtype, shape: entry.shape.clone() }
}

/// New names with the old ones. An embedding of one term becomes the one tensor that other programs
/// look for; the number of its token means something only to the web UI that trained it.
fn names_of(header: &Header) -> BTreeMap<&str, &str> {
    let all = || header.tensors.keys().map(String::as_str);
    let mut vectors = all().filter(|name| name.starts_with(EMBEDDING.0));
    match (vectors.next(), vectors.next()) {
        (Some(term), None) if all().all(|n| n == term || n.starts_with("string_to_token.")) => {
            BTreeMap::from([(EMBEDDING.1, term)])
        }
        _ => all().map(|name| (name, name)).collect(),
    }
}

/// What the pickle says beside its tensors, and that it was one.
fn metadata_of(header: &Header) -> BTreeMap<String, String> {
    let mut room = MAX_TEXT_BYTES;
    // A Lightning checkpoint has thousands below its callbacks and optimisers; what matters is at the top.
    let is_useful = |key: &str| !key.contains('.') || key.starts_with("layer_structure.");
    let mut metadata: BTreeMap<String, String> = header
        .metadata
        .iter()
        .filter(|(key, _)| is_useful(key))
        .take(MAX_TEXTS)
        .take_while(|(key, text)| {
            let need = key.len() + text.len();
            let fits = need <= room;
            room = room.saturating_sub(need);
            fits
        })
        .map(|(key, text)| (key.clone(), text.clone()))
        .collect();
    // transformers refuses files that do not say which framework wrote them.
    metadata.insert("format".into(), "pt".into());
    metadata.insert("easel.converted_from".into(), "pickle".into());
    metadata
}

/// Gives `sink` the tensor's bytes as they shall be written, row by row.
fn copy(
    reader: &TensorReader,
    entry: &TensorEntry,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), ConvertError>,
) -> Result<(), ConvertError> {
    // Elements of a pickle have whole bytes, eight at most, of which a chunk is a multiple.
    let total = entry.elements() * entry.dtype.bits() / 8;
    let mut buffer = vec![0; CHUNK.min(usize::try_from(total).unwrap_or(CHUNK))];
    let mut offset = 0;
    while offset < total {
        let length = buffer.len().min(usize::try_from(total - offset).unwrap_or(CHUNK));
        let chunk = &mut buffer[..length];
        reader.read(entry, offset, chunk)?;
        offset += length as u64;
        if entry.dtype == Dtype::F64 {
            let narrow = |wide: &[u8; 8]| (f64::from_le_bytes(*wide) as f32).to_le_bytes();
            let narrowed: Vec<u8> = chunk.as_chunks().0.iter().flat_map(narrow).collect();
            sink(&narrowed)?;
        } else {
            sink(chunk)?;
        }
    }
    Ok(())
}
