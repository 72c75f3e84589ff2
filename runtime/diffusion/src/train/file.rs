//! Writing safetensors: the format's own specification, and nothing that its reader would refuse.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use candle_core::{DType, Tensor};
use serde_json::{Map, Value, json};

use super::error::TrainError;

/// What numbers become in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SavePrecision {
    #[default]
    F32,
    F16,
    Bf16,
}

impl SavePrecision {
    fn dtype(self) -> (DType, &'static str, u64) {
        match self {
            Self::F32 => (DType::F32, "F32", 4),
            Self::F16 => (DType::F16, "F16", 2),
            Self::Bf16 => (DType::BF16, "BF16", 2),
        }
    }
}

/// Writes tensors under their names, one after the other in the order of names. The file appears whole or
/// not at all.
pub(super) fn write(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    metadata: &BTreeMap<String, String>,
    precision: SavePrecision,
) -> Result<(), TrainError> {
    let failed = |source| TrainError::Write { path: path.display().to_string(), source };
    let (dtype, name, bytes) = precision.dtype();
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), json!(metadata));
    }
    let mut end = 0_u64;
    for (key, tensor) in tensors {
        let begin = end;
        end += tensor.elem_count() as u64 * bytes;
        let entry = json!({"dtype": name, "shape": tensor.dims(), "data_offsets": [begin, end]});
        header.insert(key.clone(), entry);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // The data begin at a multiple of eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = Path::new(&beside);
    let mut file = BufWriter::new(std::fs::File::create(beside).map_err(failed)?);
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
    file.write_all(&header).map_err(failed)?;
    for tensor in tensors.values() {
        let values = tensor.detach().flatten_all().and_then(|t| t.to_dtype(dtype));
        let values = values.map_err(TrainError::tensor("a tensor to be written"))?;
        let bytes = bytes_of(&values, precision).map_err(TrainError::tensor("a tensor to be written"))?;
        file.write_all(&bytes).map_err(failed)?;
    }
    let file = file.into_inner().map_err(|e| failed(e.into_error()))?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(beside, path).map_err(failed)
}

fn bytes_of(values: &Tensor, precision: SavePrecision) -> candle_core::Result<Vec<u8>> {
    Ok(match precision {
        SavePrecision::F32 => values.to_vec1::<f32>()?.iter().flat_map(|v| v.to_le_bytes()).collect(),
        SavePrecision::F16 => values.to_vec1::<half::f16>()?.iter().flat_map(|v| v.to_le_bytes()).collect(),
        SavePrecision::Bf16 => values.to_vec1::<half::bf16>()?.iter().flat_map(|v| v.to_le_bytes()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::read_header;
    use candle_core::Device;

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let tensors = BTreeMap::from([
            ("b".to_owned(), Tensor::new(&[[1.5_f32, -2.0]], &Device::Cpu).unwrap()),
            ("a".to_owned(), Tensor::new(3.0_f32, &Device::Cpu).unwrap()),
            ("mark".to_owned(), Tensor::zeros(0, DType::F32, &Device::Cpu).unwrap()),
        ]);
        let metadata = BTreeMap::from([("k".to_owned(), "v \"quoted\"".to_owned())]);
        for precision in [SavePrecision::F32, SavePrecision::F16, SavePrecision::Bf16] {
            write(&path, &tensors, &metadata, precision).unwrap();
            let header = read_header(&path).unwrap().header;
            assert_eq!(header.metadata["k"], metadata["k"]);
            let read = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
            let values = read["b"].to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(values, [[1.5, -2.0]], "{precision:?}");
            assert!(read["a"].dims().is_empty() && read["mark"].dims() == [0]);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        let nowhere = dir.path().join("none/x.safetensors");
        let error = write(&nowhere, &tensors, &metadata, SavePrecision::F32).unwrap_err();
        assert_eq!((error.reason(), error.retriable()), ("FileUnwritable", true));
    }
}
