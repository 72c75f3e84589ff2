//! The state of a run in a file: variables, what the optimiser remembers, averages.
//!
//! `step-N.safetensors` holds the tensors and `step-N.json` what they belong to, with a digest of the former.
//! Both are written beside their place, synced and renamed, the JSON last: a crash at any moment leaves
//! either a whole checkpoint or none.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::train::optim::{Slot, SlotMut, State};
use crate::weights::{Dtype, WeightError, read_header};

/// Version of the layout.
const FORMAT: u32 = 1;
/// Largest JSON beside a checkpoint.
const MAX_JSON_BYTES: u64 = 1 << 16;

/// Why a checkpoint cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("cannot write the checkpoint {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot read the checkpoint {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the checkpoint {} is damaged: {detail}", path.display())]
    Damaged { path: PathBuf, detail: String },
    #[error("the checkpoint {} cannot be used", path.display())]
    Header { path: PathBuf, source: Box<WeightError> },
    #[error(
        "the checkpoint {} belongs to a run with other settings, data or base: give the same ones to go on, or \
         another folder to begin anew",
        path.display()
    )]
    OtherRun { path: PathBuf },
    #[error("the checkpoint {} is of step {step}, the run has {total} steps: ask for more", path.display())]
    Beyond { path: PathBuf, step: u64, total: u64 },
}

impl CheckpointError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Write { .. } => "CheckpointUnwritable",
            Self::Read { .. } => "CheckpointUnreadable",
            Self::Damaged { .. } | Self::Header { .. } => "CheckpointDamaged",
            Self::OtherRun { .. } | Self::Beyond { .. } => "CheckpointOfOtherRun",
        }
    }

    /// Only what the disk did may go away by itself.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Write { .. } | Self::Read { .. } => true,
            Self::Damaged { .. } | Self::Header { .. } | Self::OtherRun { .. } | Self::Beyond { .. } => false,
        }
    }
}

/// The JSON beside the tensors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Card {
    format: u32,
    pub step: u64,
    /// Digest of all that decides the numbers.
    pub run: String,
    bytes: u64,
    sha256: String,
}

/// Everything that a run goes on with, variable by variable.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub names: Vec<String>,
    pub values: Vec<Vec<f32>>,
    pub states: Vec<State>,
    /// Empty without averages.
    pub averages: Vec<Vec<f32>>,
}

impl Snapshot {
    /// The parts under the names that they have in the file, in an order of its own.
    fn parts(&self) -> BTreeMap<String, Slot<'_>> {
        let mut parts = BTreeMap::new();
        for (i, name) in self.names.iter().enumerate() {
            parts.insert(format!("variable/{name}"), Slot::F32(&self.values[i]));
            for (slot, part) in self.states[i].slots() {
                parts.insert(format!("{slot}/{name}"), part);
            }
            if let Some(average) = self.averages.get(i) {
                parts.insert(format!("average/{name}"), Slot::F32(average));
            }
        }
        parts
    }

    fn parts_mut(&mut self) -> BTreeMap<String, SlotMut<'_>> {
        let mut parts = BTreeMap::new();
        for ((name, values), state) in self.names.iter().zip(&mut self.values).zip(&mut self.states) {
            parts.insert(format!("variable/{name}"), SlotMut::F32(values));
            for (slot, part) in state.slots_mut() {
                parts.insert(format!("{slot}/{name}"), part);
            }
        }
        for (name, average) in self.names.iter().zip(&mut self.averages) {
            parts.insert(format!("average/{name}"), SlotMut::F32(average));
        }
        parts
    }
}

/// Writes to `path` (of the tensors) and the JSON beside it.
pub(super) fn write(path: &Path, step: u64, run: &str, snapshot: &Snapshot) -> Result<(), CheckpointError> {
    let failed = |source| CheckpointError::Write { path: path.to_owned(), source };
    let half = path.with_extension("part");
    let (bytes, sha256) = write_tensors(&half, &snapshot.parts()).map_err(failed)?;
    std::fs::rename(&half, path).map_err(failed)?;
    let card = Card { format: FORMAT, step, run: run.to_owned(), bytes, sha256 };
    let json = serde_json::to_vec(&card).map_err(|error| failed(error.into()))?;
    let mut file = File::create(&half).map_err(failed)?;
    file.write_all(&json).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&half, path.with_extension("json")).map_err(failed)?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all()).map_err(failed)
}

/// Passes bytes on and digests them.
struct Digesting<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

fn write_tensors(path: &Path, parts: &BTreeMap<String, Slot<'_>>) -> std::io::Result<(u64, String)> {
    let mut header = serde_json::Map::new();
    let mut at = 0_usize;
    for (name, part) in parts {
        let (dtype, elements, width) = match part {
            Slot::F32(values) => ("F32", values.len(), 4),
            Slot::U8(codes) => ("U8", codes.len(), 1),
        };
        let end = at + elements * width;
        let entry = serde_json::json!({"dtype": dtype, "shape": [elements], "data_offsets": [at, end]});
        header.insert(name.clone(), entry);
        at = end;
    }
    let header = serde_json::to_vec(&header)?;
    let inner = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut out = Digesting { inner, hash: Sha256::new(), bytes: 0 };
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for part in parts.values() {
        match part {
            Slot::U8(codes) => out.write_all(codes)?,
            Slot::F32(values) => {
                for value in *values {
                    out.write_all(&value.to_le_bytes())?;
                }
            }
        }
    }
    out.flush()?;
    let Digesting { inner, hash, bytes } = out;
    inner.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok((bytes, crate::train::data::hex(&hash.finalize())))
}

/// The card of a checkpoint whose tensors are whole.
pub(super) fn verify(path: &Path) -> Result<Card, CheckpointError> {
    let failed = |source| CheckpointError::Read { path: path.to_owned(), source };
    let damaged = |detail: String| CheckpointError::Damaged { path: path.to_owned(), detail };
    let mut json = Vec::new();
    let card = File::open(path.with_extension("json")).map_err(failed)?;
    card.take(MAX_JSON_BYTES).read_to_end(&mut json).map_err(failed)?;
    let card: Card = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
    if card.format != FORMAT {
        return Err(damaged(format!("its format is {}, this program reads {FORMAT}", card.format)));
    }
    let mut file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size != card.bytes {
        return Err(damaged(format!("it has {size} bytes of {}", card.bytes)));
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    if crate::train::data::hex(&hash.finalize()) != card.sha256 {
        return Err(damaged("its digest differs".into()));
    }
    Ok(card)
}

/// Fills `snapshot`, which has the sizes that the run needs.
pub(super) fn read(path: &Path, snapshot: &mut Snapshot) -> Result<(), CheckpointError> {
    let failed = |source| CheckpointError::Read { path: path.to_owned(), source };
    let damaged = |detail: String| CheckpointError::Damaged { path: path.to_owned(), detail };
    let header = read_header(path)
        .map_err(|source| CheckpointError::Header { path: path.to_owned(), source: Box::new(source) })?
        .header;
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    let mut parts = snapshot.parts_mut();
    if parts.len() != header.tensors.len() {
        return Err(damaged(format!("it has {} tensors of {}", header.tensors.len(), parts.len())));
    }
    for (name, part) in &mut parts {
        let entry = header.tensors.get(name).ok_or_else(|| damaged(format!("it has no `{name}`")))?;
        let (dtype, elements) = match part {
            SlotMut::F32(values) => (Dtype::F32, values.len()),
            SlotMut::U8(codes) => (Dtype::U8, codes.len()),
        };
        if entry.dtype != dtype || entry.elements() != elements as u64 {
            return Err(damaged(format!("its `{name}` is {:?} of {:?}", entry.dtype, entry.shape)));
        }
        file.seek(SeekFrom::Start(entry.begin)).map_err(failed)?;
        match part {
            SlotMut::U8(codes) => file.read_exact(codes).map_err(failed)?,
            SlotMut::F32(values) => {
                let mut bytes = [0; 4];
                for value in values.iter_mut() {
                    file.read_exact(&mut bytes).map_err(failed)?;
                    *value = f32::from_le_bytes(bytes);
                }
            }
        }
    }
    Ok(())
}
