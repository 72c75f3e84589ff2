//! One or several mapped files seen as one set of named tensors, under the crate's own names.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use candle_core::{Device, Tensor};
use half::{bf16, f16};

use super::dtype::Dtype;
use super::header::{Header, TensorEntry, required_prefix};
use super::mapped::MappedFile;
use super::params::WeightError;
use super::pickle::{is_pickle, read_pickle};

/// An open file and its checked header.
#[derive(Debug)]
pub struct FileHeader {
    pub path: PathBuf,
    pub header: Header,
    /// A PyTorch checkpoint; otherwise safetensors.
    pub is_pickle: bool,
    pub(super) file: File,
}

/// Opens a file of safetensors or a PyTorch checkpoint and checks its header; reads nothing else.
///
/// # Errors
/// The file cannot be read, or its header is refused.
pub fn read_header(path: &Path) -> Result<FileHeader, WeightError> {
    let io = |source| WeightError::Io { path: path.display().to_string(), source };
    let refused = |source| WeightError::Header { path: path.display().to_string(), source };
    let mut file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(WeightError::NotAFile { path: path.display().to_string() });
    }
    let file_len = meta.len();
    let mut prefix = Vec::with_capacity(64);
    file.by_ref().take(64).read_to_end(&mut prefix).map_err(io)?;
    if is_pickle(&prefix) {
        let map = MappedFile::open(&file).map_err(io)?;
        let header = read_pickle(map.bytes()).map_err(|e| refused(e.into()))?;
        return Ok(FileHeader { path: path.to_owned(), header, is_pickle: true, file });
    }
    let need = required_prefix(&prefix, file_len).map_err(refused)?;
    let rest = need.saturating_sub(prefix.len() as u64);
    file.by_ref().take(rest).read_to_end(&mut prefix).map_err(io)?;
    let header = Header::parse(&prefix, file_len).map_err(refused)?;
    Ok(FileHeader { path: path.to_owned(), header, is_pickle: false, file })
}

/// Where a tensor of the crate's naming lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    file: usize,
    entry: TensorEntry,
    /// The name in the file, which is what messages show.
    original: String,
}

impl Place {
    /// Of a tensor that no file holds.
    pub(super) fn nowhere(name: &str, shape: &[usize]) -> Self {
        let (begin, end) = (0, 0);
        let entry = TensorEntry { dtype: Dtype::F32, shape: shape.to_vec(), begin, end, strides: None };
        Self { file: 0, entry, original: name.to_owned() }
    }
}

/// All tensors of a model under one naming (that of diffusers, prefixed `unet.`, `vae.`, `text.`).
///
/// A tensor is converted at its first use and then shared by all networks that are built from it.
#[derive(Debug)]
pub struct Weights {
    /// Empty after [`Weights::close_files`].
    pub(super) files: RwLock<Vec<MappedFile>>,
    pub(super) places: BTreeMap<String, Place>,
    pub(super) converted: Mutex<HashMap<String, Tensor>>,
    /// The state of the generator, where tensors are made up: [`Weights::random`].
    pub(super) made: Option<Mutex<u64>>,
}

/// Collects files and the names their tensors get.
#[derive(Debug, Default)]
pub struct WeightsBuilder {
    files: Vec<MappedFile>,
    places: BTreeMap<String, Place>,
}

impl WeightsBuilder {
    /// Maps `file` and takes the tensors for which `rename` gives a name.
    ///
    /// # Errors
    /// The file cannot be mapped, it shrank since its header was read, or two tensors get one name.
    pub fn add(
        &mut self,
        file: FileHeader,
        rename: impl Fn(&str) -> Option<String>,
    ) -> Result<(), WeightError> {
        self.add_parts(file, |name, entry| {
            rename(name).map(|new| vec![(new, entry.clone())]).unwrap_or_default()
        })
    }

    /// As [`WeightsBuilder::add`], where one tensor of the file may become several: `split` gives the
    /// names and what part of the tensor each is.
    ///
    /// # Errors
    /// As for [`WeightsBuilder::add`].
    pub fn add_parts(
        &mut self,
        file: FileHeader,
        split: impl Fn(&str, &TensorEntry) -> Vec<(String, TensorEntry)>,
    ) -> Result<(), WeightError> {
        let path = file.path.display().to_string();
        let map =
            MappedFile::open(&file.file).map_err(|source| WeightError::Io { path: path.clone(), source })?;
        if (map.bytes().len() as u64) < file.header.file_len {
            return Err(WeightError::Shrank { path });
        }
        let index = self.files.len();
        for (original, entry) in file.header.tensors {
            for (name, entry) in split(&original, &entry) {
                if let Some(first) = self.places.get(&name) {
                    let first = first.original.clone();
                    return Err(WeightError::Ambiguous { name, first, second: original });
                }
                self.places.insert(name, Place { file: index, entry, original: original.clone() });
            }
        }
        self.files.push(map);
        Ok(())
    }

    /// The finished set, ready to be read from several threads.
    pub fn build(self) -> Arc<Weights> {
        Arc::new(Weights {
            files: RwLock::new(self.files),
            places: self.places,
            converted: Mutex::default(),
            made: None,
        })
    }
}

impl Weights {
    /// All names with their shapes, in order.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.places.iter().map(|(name, place)| (name.as_str(), place.entry.shape.as_slice()))
    }

    /// The shape of a tensor, if there is one of that name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.places.get(name).map(|p| p.entry.shape.as_slice())
    }

    /// The name that a tensor has in its file.
    pub fn original_name(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|p| p.original.as_str())
    }

    /// A tensor as f32 on the CPU.
    ///
    /// # Errors
    /// There is none, its element type is not a float, it holds infinities or NaN, or the files were
    /// closed before its first use.
    pub fn tensor(&self, name: &str) -> Result<Tensor, WeightError> {
        if let Some(tensor) = self.converted().get(name) {
            return Ok(tensor.clone());
        }
        let tensor = self.convert(name)?;
        self.converted().insert(name.to_owned(), tensor.clone());
        Ok(tensor)
    }

    /// A tensor of one element as a number; whole numbers too, which weights may not be.
    ///
    /// # Errors
    /// There is none, it has another count of elements, its type is none of these, or it is not finite.
    pub fn number(&self, name: &str) -> Result<f64, WeightError> {
        let place = self.places.get(name).ok_or_else(|| WeightError::Missing { name: name.to_owned() })?;
        if place.entry.elements() != 1 {
            let (name, actual) = (place.original.clone(), place.entry.shape.clone());
            return Err(WeightError::Shape { name, actual, expected: vec![1] });
        }
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let file = files.get(place.file).map(MappedFile::bytes);
        let bytes = file
            .and_then(|bytes| bytes.get(place.entry.begin as usize..place.entry.end as usize))
            .ok_or_else(|| WeightError::Missing { name: place.original.clone() })?;
        let whole = bytes.iter().rev().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        let value = match place.entry.dtype {
            Dtype::Bool | Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => whole as f64,
            Dtype::I8 => f64::from(whole as i8),
            Dtype::I16 => f64::from(whole as i16),
            Dtype::I32 => f64::from(whole as i32),
            Dtype::I64 => whole as i64 as f64,
            Dtype::F64 => f64::from_bits(whole),
            _ => to_f32(place, bytes)?.first().map_or(f64::NAN, |v| f64::from(*v)),
        };
        if !value.is_finite() {
            let (name, value) = (place.original.clone(), value as f32);
            return Err(WeightError::NotFinite { name, index: 0, value });
        }
        Ok(value)
    }

    /// Unmaps the files, once the networks are built: a file that is replaced later cannot change or end
    /// a running job, and only what was used stays in memory.
    pub fn close_files(&self) {
        self.files.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Gives up the converted tensors of these names; networks that use them keep them.
    pub(crate) fn forget<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut converted = self.converted();
        names.for_each(|name| drop(converted.remove(name)));
    }

    pub(super) fn converted(&self) -> std::sync::MutexGuard<'_, HashMap<String, Tensor>> {
        self.converted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn convert(&self, name: &str) -> Result<Tensor, WeightError> {
        let place = self.places.get(name).ok_or_else(|| WeightError::Missing { name: name.to_owned() })?;
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let bytes = files
            .get(place.file)
            .and_then(|f| f.bytes().get(place.entry.begin as usize..place.entry.end as usize))
            .ok_or_else(|| WeightError::Missing { name: place.original.clone() })?;
        let mut values = to_f32(place, bytes)?;
        if let Some(strides) = &place.entry.strides {
            values = gather(&values, &place.entry.shape, strides);
        }
        if let Some(index) = values.iter().position(|v| !v.is_finite()) {
            return Err(WeightError::NotFinite { name: place.original.clone(), index, value: values[index] });
        }
        Tensor::from_vec(values, place.entry.shape.as_slice(), &Device::Cpu)
            .map_err(|source| WeightError::Tensor { name: place.original.clone(), source })
    }
}

fn to_f32(place: &Place, bytes: &[u8]) -> Result<Vec<f32>, WeightError> {
    let dtype = place.entry.dtype;
    Ok(match dtype {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::Bf16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        _ => return Err(WeightError::Dtype { name: place.original.clone(), dtype: dtype.name() }),
    })
}

/// The elements row by row; `values` spans them from the first to the last, which the header's check
/// has made sure of.
fn gather(values: &[f32], shape: &[usize], strides: &[usize]) -> Vec<f32> {
    let mut places = vec![0_usize];
    for (d, s) in shape.iter().zip(strides) {
        places = places.iter().flat_map(|at| (0..*d).map(move |i| at + i * s)).collect();
    }
    places.into_iter().filter_map(|at| values.get(at).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn write(json: &str, data: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&(json.len() as u64).to_le_bytes()).unwrap();
        file.write_all(json.as_bytes()).unwrap();
        file.write_all(data).unwrap();
        file
    }

    fn load(dtype: &str, data: &[u8]) -> Result<Vec<f32>, WeightError> {
        let json = format!(
            r#"{{"a":{{"dtype":"{dtype}","shape":[{}],"data_offsets":[0,{}]}}}}"#,
            data.len() / (Dtype::parse(dtype).unwrap().bits() / 8) as usize,
            data.len()
        );
        let file = write(&json, data);
        let mut builder = WeightsBuilder::default();
        builder.add(read_header(file.path())?, |n| Some(format!("x.{n}")))?;
        Ok(builder.build().tensor("x.a")?.to_vec1().unwrap())
    }

    #[test]
    fn every_float_type_becomes_f32() {
        let f16s: Vec<u8> = [1.5, -2.0].iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        let bf16s: Vec<u8> = [1.5, -2.0].iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
        let f32s: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let f64s: Vec<u8> = [1.5_f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        for (dtype, data) in [("F16", f16s), ("BF16", bf16s), ("F32", f32s), ("F64", f64s)] {
            assert_eq!(load(dtype, &data).unwrap(), [1.5, -2.0], "{dtype}");
        }
    }

    #[test]
    fn integers_and_nan_are_named_errors() {
        assert_eq!(load("I32", &[0; 8]).unwrap_err().reason(), "UnsupportedDtype");
        assert_eq!(load("F32", &f32::NAN.to_le_bytes()).unwrap_err().reason(), "NotFiniteWeights");
        assert_eq!(load("F32", &f32::INFINITY.to_le_bytes()).unwrap_err().reason(), "NotFiniteWeights");
    }

    #[test]
    fn one_element_of_any_type_is_a_number() {
        let of = |dtype: &str, data: &[u8]| {
            let json =
                format!(r#"{{"a":{{"dtype":"{dtype}","shape":[],"data_offsets":[0,{}]}}}}"#, data.len());
            let file = write(&json, data);
            let mut builder = WeightsBuilder::default();
            builder.add(read_header(file.path()).unwrap(), |n| Some(n.into())).unwrap();
            builder.build().number("a").map_err(|e| e.reason())
        };
        assert_eq!(of("I64", &(-3_i64).to_le_bytes()), Ok(-3.0));
        assert_eq!(of("U8", &[200]), Ok(200.0));
        assert_eq!(of("F16", &f16::from_f32(0.5).to_le_bytes()), Ok(0.5));
        assert_eq!(of("F64", &1e300_f64.to_le_bytes()), Ok(1e300));
        assert_eq!(of("F32", &f32::NAN.to_le_bytes()), Err("NotFiniteWeights"));
        assert_eq!(of("C64", &[0; 8]), Err("UnsupportedDtype"));
    }

    #[test]
    fn a_folder_and_a_missing_file_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_header(dir.path()).unwrap_err().reason(), "NotAFile");
        assert_eq!(read_header(&dir.path().join("none")).unwrap_err().reason(), "FileUnreadable");
    }
}
