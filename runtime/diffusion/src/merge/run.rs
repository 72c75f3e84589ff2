//! Carrying a plan out: the sources' hashes, the header, then tensor by tensor.

use std::ops::ControlFlow;
use std::path::Path;

use crate::weights::{
    Header, Outline, SafetensorsWriter, TensorEntry, TensorReader, in_file_order, read_header,
};

use super::arithmetic::{Converter, Formula};
use super::error::MergeError;
use super::jobs::{Action, Headers, Job, Origin, jobs};
use super::plan::{MergePlan, MergeSource};
use super::recipe::{hash, metadata, sources};

/// Elements that are computed at once. Fewer make the disk seek between files; more fall out of the
/// processor's cache and cost memory.
const CHUNK: u64 = 1 << 19;

/// How far a merge is, in bytes of its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeProgress {
    pub stage: MergeStage,
    pub done: u64,
    pub total: u64,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MergeStage {
    /// Reading the sources whose sha256 is not known.
    Hashing,
    /// Computing and writing.
    Merging,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// Tensors that come of two or three models.
    pub combined: u64,
    /// Tensors that are the first model's, or the baked autoencoder's.
    pub copied: u64,
    pub size_bytes: u64,
    /// Of the new file, in lower-case hex.
    pub sha256: String,
}

/// Merges as `plan` says into the safetensors file `out`, which appears only when it is whole and on the
/// disk. Memory: some twenty megabytes and the headers, whatever the size of the models.
///
/// # Errors
/// The plan is none, a source is unreadable or refused, the models do not go together, the output cannot
/// be written, or `progress` stopped it.
pub fn merge(
    plan: &MergePlan,
    out: &Path,
    progress: &mut dyn FnMut(MergeProgress) -> ControlFlow<()>,
) -> Result<Merged, MergeError> {
    plan.validate()?;
    let a = open(&plan.a)?;
    let b = open(&plan.b)?;
    let c = plan.c.as_ref().map(open).transpose()?;
    let vae = plan.vae.as_ref().map(open).transpose()?;
    let headers = Headers {
        a: (&a.header, &plan.a.name),
        b: (&b.header, &plan.b.name),
        c: c.as_ref().map(|o| &o.header).zip(plan.c.as_ref().map(|s| s.name.as_str())),
        vae: vae.as_ref().map(|o| &o.header).zip(plan.vae.as_ref().map(|s| s.name.as_str())),
    };
    let jobs = jobs(plan, &headers)?;
    let hashes = hash_all(plan, progress)?;
    let mut outlines: Vec<Outline> = jobs.values().map(|job| job.outline.clone()).collect();
    in_file_order(&mut outlines);
    let total = outlines.iter().map(Outline::bytes).sum();
    let writer = SafetensorsWriter::create(out, &outlines, &metadata(plan, hashes, &a.header))?;
    let readers = Readers { a: &a, b: &b, c: c.as_ref(), vae: vae.as_ref() };
    let mut work = Work { readers, writer, progress, done: 0, total, space: Space::default() };
    for outline in &outlines {
        work.tensor(&jobs[&outline.name])?;
    }
    let (size_bytes, sha256) = work.writer.finish()?;
    let copied = jobs.values().filter(|job| matches!(job.action, Action::Copy { .. })).count() as u64;
    Ok(Merged { combined: jobs.len() as u64 - copied, copied, size_bytes, sha256 })
}

struct Opened {
    header: Header,
    reader: TensorReader,
}

fn open(source: &MergeSource) -> Result<Opened, MergeError> {
    let (header, reader) = TensorReader::open(read_header(&source.path)?)?;
    Ok(Opened { header, reader })
}

/// The hashes of all sources in their order.
fn hash_all(
    plan: &MergePlan,
    progress: &mut dyn FnMut(MergeProgress) -> ControlFlow<()>,
) -> Result<Vec<String>, MergeError> {
    let unknown = || sources(plan).filter(|(_, source)| source.sha256.is_none());
    let mut total = 0;
    for (_, source) in unknown() {
        let length = std::fs::metadata(&source.path).map(|meta| meta.len());
        total += length.map_err(|error| MergeError::Read { name: source.name.clone(), source: error })?;
    }
    let mut done = 0;
    let mut seen = |bytes| {
        done += bytes;
        progress(MergeProgress { stage: MergeStage::Hashing, done, total })
    };
    sources(plan).map(|(_, source)| hash(source, &mut seen)).collect()
}

struct Readers<'a> {
    a: &'a Opened,
    b: &'a Opened,
    c: Option<&'a Opened>,
    vae: Option<&'a Opened>,
}

/// Memory that every chunk uses again.
#[derive(Default)]
struct Space {
    converter: Converter,
    raw: Vec<u8>,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

struct Work<'a> {
    readers: Readers<'a>,
    writer: SafetensorsWriter,
    progress: &'a mut dyn FnMut(MergeProgress) -> ControlFlow<()>,
    done: u64,
    total: u64,
    space: Space,
}

impl Work<'_> {
    fn tensor(&mut self, job: &Job) -> Result<(), MergeError> {
        match &job.action {
            Action::Copy { from, entry } if entry.dtype == job.outline.dtype => self.copy(*from, entry),
            Action::Copy { from, entry } => {
                // Tables of a schedule may hold infinities; weights may not.
                let strict = job.outline.name.contains("model");
                self.chunks(job, entry, strict, |work, first, count| {
                    let mut raw = std::mem::take(&mut work.space.raw);
                    read(&work.opened(*from).reader, entry, first, count, &mut raw)?;
                    work.space.raw = raw;
                    let Space { converter, raw, a, .. } = &mut work.space;
                    decode(converter, &job.outline.name, entry, raw, a)
                })
            }
            Action::Combine { a, b, c, formula } => self.chunks(job, a, true, |work, first, count| {
                work.load(&job.outline.name, [a, b], c.as_ref(), [first; 2], [count; 2])?;
                let Space { a, b, c, .. } = &mut work.space;
                formula.apply(a, b, c);
                Ok(())
            }),
            Action::CombineFirst { a, b, c, formula } => {
                self.combine_first(job, [a, b], c.as_ref(), *formula)
            }
        }
    }

    fn opened(&self, from: Origin) -> &Opened {
        match from {
            Origin::A => self.readers.a,
            // Jobs copy from an autoencoder only where there is one.
            Origin::Vae => self.readers.vae.unwrap_or(self.readers.a),
        }
    }

    /// The bytes as they are.
    fn copy(&mut self, from: Origin, entry: &TensorEntry) -> Result<(), MergeError> {
        let total = (entry.elements() * entry.dtype.bits()).div_ceil(8);
        let mut offset = 0;
        while offset < total {
            // A multiple of every element's size.
            let length = (total - offset).min(CHUNK * 4);
            let mut raw = std::mem::take(&mut self.space.raw);
            raw.resize(length as usize, 0);
            self.opened(from).reader.read(entry, offset, &mut raw)?;
            self.space.raw = raw;
            offset += length;
            self.put()?;
        }
        Ok(())
    }

    /// Computes the elements piece by piece into `space.a` and writes them.
    fn chunks(
        &mut self,
        job: &Job,
        entry: &TensorEntry,
        strict: bool,
        mut compute: impl FnMut(&mut Self, u64, u64) -> Result<(), MergeError>,
    ) -> Result<(), MergeError> {
        let (mut first, total) = (0, entry.elements());
        while first < total {
            let count = (total - first).min(CHUNK);
            compute(self, first, count)?;
            self.store(job, first, strict)?;
            first += count;
        }
        Ok(())
    }

    /// The same places of all sources; `a`'s may be others than those of `b` and `c`.
    fn load(
        &mut self,
        tensor: &str,
        [a, b]: [&TensorEntry; 2],
        c: Option<&TensorEntry>,
        first: [u64; 2],
        count: [u64; 2],
    ) -> Result<(), MergeError> {
        let Space { converter, raw, a: a_values, b: b_values, c: c_values } = &mut self.space;
        read(&self.readers.a.reader, a, first[0], count[0], raw)?;
        decode(converter, tensor, a, raw, a_values)?;
        read(&self.readers.b.reader, b, first[1], count[1], raw)?;
        decode(converter, tensor, b, raw, b_values)?;
        match (c, self.readers.c) {
            (Some(entry), Some(opened)) => {
                read(&opened.reader, entry, first[1], count[1], raw)?;
                decode(converter, tensor, entry, raw, c_values)
            }
            // Minus itself: a difference of zero.
            (Some(_), None) | (None, _) => {
                c_values.clone_from(b_values);
                Ok(())
            }
        }
    }

    /// Each output's kernel has the ordinary channels first.
    fn combine_first(
        &mut self,
        job: &Job,
        [a, b]: [&TensorEntry; 2],
        c: Option<&TensorEntry>,
        formula: Formula,
    ) -> Result<(), MergeError> {
        self.load(&job.outline.name, [a, b], c, [0; 2], [a.elements(), b.elements()])?;
        let rows = a.shape.first().copied().unwrap_or(1).max(1);
        let Space { a, b, c, .. } = &mut self.space;
        let (wide, narrow) = (a.len() / rows, b.len() / rows);
        let parts = b.chunks_exact(narrow.max(1)).zip(c.chunks_exact(narrow.max(1)));
        for (a, (b, c)) in a.chunks_exact_mut(wide.max(1)).zip(parts) {
            formula.apply(&mut a[..narrow], b, c);
        }
        self.store(job, 0, true)
    }

    /// Writes `space.a`.
    fn store(&mut self, job: &Job, first: u64, strict: bool) -> Result<(), MergeError> {
        let Space { converter, raw, a, .. } = &mut self.space;
        let outline = &job.outline;
        converter.encode(outline.dtype, a, strict, raw).map_err(|index| MergeError::NotFinite {
            tensor: outline.name.clone(),
            index: first + index as u64,
            value: a[index],
            dtype: outline.dtype.name(),
        })?;
        self.put()
    }

    /// Writes `space.raw` and tells.
    fn put(&mut self) -> Result<(), MergeError> {
        self.writer.write(&self.space.raw)?;
        self.done += self.space.raw.len() as u64;
        let progress = MergeProgress { stage: MergeStage::Merging, done: self.done, total: self.total };
        if (self.progress)(progress).is_break() { Err(MergeError::Stopped) } else { Ok(()) }
    }
}

fn read(
    reader: &TensorReader,
    entry: &TensorEntry,
    first: u64,
    count: u64,
    raw: &mut Vec<u8>,
) -> Result<(), MergeError> {
    let size = entry.dtype.bits() / 8;
    raw.resize((count * size) as usize, 0);
    Ok(reader.read(entry, first * size, raw)?)
}

fn decode(
    converter: &mut Converter,
    tensor: &str,
    entry: &TensorEntry,
    raw: &[u8],
    values: &mut Vec<f32>,
) -> Result<(), MergeError> {
    converter.decode(entry.dtype, raw, values).ok_or_else(|| MergeError::Dtype {
        tensor: tensor.to_owned(),
        name: "a source".to_owned(),
        dtype: entry.dtype.name(),
    })
}
