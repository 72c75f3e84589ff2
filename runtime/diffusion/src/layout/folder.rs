//! The folder layout of diffusers: one sub-folder per component, each with a `config.json`.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

/// Largest JSON file read from a model folder; real ones have a few kilobytes, a shard index 300 KB.
const MAX_JSON: u64 = 8 << 20;

/// Weights of a text encoder; as a pickle they are called `pytorch_model`.
const TEXT_STEM: &str = "model";

/// Why a folder is not a usable model.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{path} is no model folder: it has no `unet` folder with weights")]
    NotAModel { path: String },
    #[error(
        "{path} has no weights: neither {stem}.safetensors nor {stem}.bin is there; transfer the folder again"
    )]
    NoWeights { path: String, stem: &'static str },
    #[error("cannot read {path}")]
    Io { path: String, source: std::io::Error },
    #[error("{path} is not the JSON that is expected there: {detail}")]
    Json { path: String, detail: String },
}

impl FolderError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotAModel { .. } => "NotAModel",
            Self::NoWeights { .. } => "NoWeights",
            Self::Io { .. } => "FileUnreadable",
            Self::Json { .. } => "InvalidConfig",
        }
    }

    /// Only what the disk did may go away by itself.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Io { .. } => true,
            Self::NotAModel { .. } | Self::NoWeights { .. } | Self::Json { .. } => false,
        }
    }
}

/// A model folder and the files that belong to its components.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    pub unet: Vec<PathBuf>,
    pub vae: Vec<PathBuf>,
    pub text: Vec<PathBuf>,
    /// SDXL's second text encoder.
    pub text2: Vec<PathBuf>,
}

impl Folder {
    /// Finds the components; reads at most a shard index.
    ///
    /// # Errors
    /// There is no UNet here, or a component without weights.
    pub fn open(root: &Path) -> Result<Self, FolderError> {
        if !root.join("unet").is_dir() {
            return Err(FolderError::NotAModel { path: root.display().to_string() });
        }
        Ok(Self {
            root: root.to_owned(),
            unet: component(root, "unet", "diffusion_pytorch_model")?,
            vae: component(root, "vae", "diffusion_pytorch_model")?,
            text: component(root, "text_encoder", TEXT_STEM)?,
            text2: component(root, "text_encoder_2", TEXT_STEM)?,
        })
    }

    /// The weight files of all components.
    pub fn weight_files(&self) -> impl Iterator<Item = &Path> {
        [&self.unet, &self.vae, &self.text, &self.text2].into_iter().flatten().map(PathBuf::as_path)
    }

    /// A component's `config.json`; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read or is not a JSON object.
    pub fn config(&self, component: &str) -> Result<Option<Value>, FolderError> {
        read_json(&self.root.join(component).join("config.json"))
    }

    /// `prediction_type` of the scheduler's configuration.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn scheduler_prediction(&self) -> Result<Option<String>, FolderError> {
        let json = self.scheduler()?;
        Ok(json.and_then(|v| v.get("prediction_type")?.as_str().map(str::to_owned)))
    }

    /// The scheduler's configuration.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn scheduler(&self) -> Result<Option<Value>, FolderError> {
        read_json(&self.root.join("scheduler").join("scheduler_config.json"))
    }
}

/// The weight files and the `config.json` of a folder that is one component by itself.
///
/// # Errors
/// There are no weights, or a file cannot be read.
pub(crate) fn lone_component(dir: &Path) -> Result<(Vec<PathBuf>, Option<Value>), FolderError> {
    Ok((component(dir, "", "diffusion_pytorch_model")?, read_json(&dir.join("config.json"))?))
}

/// The weight files of one component: one file, its f16 variant, or shards listed by an index; pickles
/// only where there are no safetensors.
fn component(root: &Path, name: &str, stem: &'static str) -> Result<Vec<PathBuf>, FolderError> {
    let dir = root.join(name);
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    for variant in ["", ".fp16"] {
        let file = dir.join(format!("{stem}{variant}.safetensors"));
        if file.is_file() {
            return Ok(vec![file]);
        }
        let index = dir.join(format!("{stem}.safetensors.index{variant}.json"));
        if let Some(json) = read_json(&index)? {
            return shards(&dir, &index, &json);
        }
    }
    let pickled = if stem == TEXT_STEM { "pytorch_model" } else { stem };
    for ext in ["bin", "fp16.bin"] {
        let file = dir.join(format!("{pickled}.{ext}"));
        if file.is_file() {
            return Ok(vec![file]);
        }
    }
    Err(FolderError::NoWeights { path: dir.display().to_string(), stem })
}

fn shards(dir: &Path, index: &Path, json: &Value) -> Result<Vec<PathBuf>, FolderError> {
    let refuse = |detail: String| FolderError::Json { path: index.display().to_string(), detail };
    let map = json
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| refuse("it has no `weight_map`".into()))?;
    let mut files = Vec::new();
    for value in map.values() {
        let name = value.as_str().ok_or_else(|| refuse("a shard's name is not a string".into()))?;
        // The index comes with the model, so it may try to name a file outside of the folder.
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(refuse(format!("the shard `{name}` is not a plain file name")));
        }
        let path = dir.join(name);
        if !files.contains(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

fn read_json(path: &Path) -> Result<Option<Value>, FolderError> {
    let io = |source| FolderError::Io { path: path.display().to_string(), source };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    let refuse = |detail: String| FolderError::Json { path: path.display().to_string(), detail };
    let mut bytes = Vec::new();
    file.take(MAX_JSON + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_JSON {
        return Err(refuse(format!("it has more than {MAX_JSON} bytes")));
    }
    let value: Value = serde_json::from_slice(&bytes).map_err(|e| refuse(e.to_string()))?;
    if !value.is_object() {
        return Err(refuse("it is not an object".into()));
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pickle_is_taken_only_where_there_are_no_safetensors() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Folder::open(dir.path()).unwrap_err().reason(), "NotAModel");
        fs::create_dir(dir.path().join("unet")).unwrap();
        assert_eq!(Folder::open(dir.path()).unwrap_err().reason(), "NoWeights");
        let [pickle, safe] =
            ["bin", "safetensors"].map(|ext| dir.path().join(format!("unet/diffusion_pytorch_model.{ext}")));
        fs::write(&pickle, b"x").unwrap();
        assert_eq!(Folder::open(dir.path()).unwrap().unet, [pickle]);
        fs::write(&safe, b"x").unwrap();
        assert_eq!(Folder::open(dir.path()).unwrap().unet, [safe]);
    }

    #[test]
    fn a_shard_index_cannot_leave_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("unet")).unwrap();
        let index = dir.path().join("unet/diffusion_pytorch_model.safetensors.index.json");
        for (name, ok) in [("../x.safetensors", false), ("/etc/passwd", false), ("a-1.safetensors", true)] {
            fs::write(&index, format!(r#"{{"weight_map":{{"w":"{name}"}}}}"#)).unwrap();
            assert_eq!(Folder::open(dir.path()).is_ok(), ok, "{name}");
        }
    }
}
