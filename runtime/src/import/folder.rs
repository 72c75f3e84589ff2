//! A Model that is a folder in the layout of diffusers: what it is can only be told of all its files together.
//!
//! The files go to the object store one after the other, so that the working directory needs room for one of them.
//! What stays is a skeleton: a folder of the same names, with the headers of the weights and the side files whole,
//! each file as long as the real one but without its data.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use easel_diffusion::Inspection;
use easel_diffusion::weights::required_prefix;

use super::check::{Role, is_weights, role_of};
use super::error::ImportError;

/// Components of a folder, in the order in which their weights stand in a Model's files: the first names the Model.
const COMPONENTS: &[&str] =
    &["unet", "vae", "text_encoder", "text_encoder_2", "scheduler", "tokenizer", "tokenizer_2"];
/// Largest side file that is copied; shard indices have 300 KB.
const MAX_SIDE_BYTES: u64 = 8 << 20;

/// Is a folder of this name a component?
pub(super) fn is_component(folder: &str) -> bool {
    COMPONENTS.contains(&folder)
}

/// Are these the names of the files of a folder?
pub(super) fn is_folder<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    names.any(|name| name.starts_with("unet/") && role_of(name) == Role::Weights)
}

/// Orders files so that the first one is the weights that the Model is known by.
pub(super) fn rank(name: &str) -> usize {
    let weights = is_weights(name);
    let component = name.split('/').next().filter(|_| name.contains('/'));
    let place = match component {
        None => 0,
        Some(first) => COMPONENTS.iter().position(|known| *known == first).unwrap_or(COMPONENTS.len()),
    };
    place + if weights { 0 } else { COMPONENTS.len() + 1 }
}

/// See the module.
pub(super) struct Skeleton {
    root: PathBuf,
}

impl Skeleton {
    /// An empty one.
    pub(super) fn new(work_dir: &Path) -> io::Result<Self> {
        let root = work_dir.join("skeleton");
        match std::fs::remove_dir_all(&root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&root)?,
        }
        Ok(Self { root })
    }

    /// Takes what tells of the file at `path`. `name` is one that was checked: a relative path of plain parts.
    pub(super) fn add(&self, name: &str, path: &Path) -> io::Result<()> {
        let at = self.root.join(name);
        if let Some(parent) = at.parent() {
            std::fs::create_dir_all(parent)?;
        }
        outline(name, path, &at)
    }

    /// What all files together are.
    pub(super) fn inspect(&self, model: &str) -> Result<Inspection, ImportError> {
        easel_diffusion::inspect(&self.root)
            .map_err(|error| ImportError::Inspect { file: model.to_owned(), source: Box::new(error) })
    }
}

/// Copies what tells of a file called `name`: of weights the header, of others all; the rest is a hole.
pub(super) fn outline(name: &str, from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let len = from.metadata()?.len();
    let mut kept = Vec::new();
    if is_weights(name) {
        (&mut from).take(64).read_to_end(&mut kept)?;
        // What it is not, the inspection says.
        let header = required_prefix(&kept, len).unwrap_or(len.min(64));
        let rest = header.saturating_sub(kept.len() as u64);
        from.take(rest).read_to_end(&mut kept)?;
    } else {
        from.take(MAX_SIDE_BYTES).read_to_end(&mut kept)?;
    }
    let mut to = File::create(to)?;
    to.write_all(&kept)?;
    to.set_len(len)
}

/// Is a file to be kept beside the others? Not a pickle whose safetensors are there too, and nothing of a folder
/// that no loader looks at (the engine has its own tokenizer).
pub(super) fn is_wanted(name: &str, all: &[String], in_folder: bool) -> bool {
    let twin = super::content::safetensors_name(name);
    let has_twin = role_of(name) == Role::Weights && twin != name && all.contains(&twin);
    let unread = ["tokenizer/", "tokenizer_2/", "safety_checker/", "feature_extractor/"];
    let is_unread = in_folder && unread.iter().any(|folder| name.starts_with(folder));
    !has_twin && !is_unread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unet_comes_first_and_side_files_last() {
        let mut names = [
            "model_index.json",
            "vae/diffusion_pytorch_model.safetensors",
            "unet/config.json",
            "text_encoder/model.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
        ];
        assert!(is_folder(names.iter().copied()));
        names.sort_by_key(|name| rank(name));
        assert_eq!(names[0], "unet/diffusion_pytorch_model.safetensors");
        assert_eq!(names[3], "model_index.json");
        assert!(!is_folder(["m.safetensors", "unet.safetensors", "unet/config.json"].into_iter()));
    }

    #[test]
    fn twins_and_what_nobody_reads_stay_behind() {
        let all =
            ["unet/d.bin", "unet/d.safetensors", "tokenizer/merges.txt", "vae/d.bin"].map(str::to_owned);
        let kept = |in_folder| -> Vec<&str> {
            all.iter().map(String::as_str).filter(|name| is_wanted(name, &all, in_folder)).collect()
        };
        assert_eq!(kept(true), ["unet/d.safetensors", "vae/d.bin"]);
        assert_eq!(kept(false), ["unet/d.safetensors", "tokenizer/merges.txt", "vae/d.bin"]);
    }

    #[test]
    fn a_skeleton_is_inspected_like_the_folder() {
        let work = tempfile::tempdir().unwrap();
        let skeleton = Skeleton::new(work.path()).unwrap();
        let header =
            r#"{"mid.proj_in.weight":{"dtype":"F16","shape":[512,1024],"data_offsets":[0,1048576]}}"#;
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.resize(file.len() + (1 << 20), 7);
        let path = work.path().join("0");
        std::fs::write(&path, &file).unwrap();
        skeleton.add("unet/diffusion_pytorch_model.safetensors", &path).unwrap();
        std::fs::write(&path, r#"{"prediction_type":"v_prediction"}"#).unwrap();
        skeleton.add("scheduler/scheduler_config.json", &path).unwrap();
        let seen = skeleton.inspect("m").unwrap();
        assert_eq!(seen.family, easel_diffusion::Family::Sd2);
        assert_eq!(seen.prediction_type, Some(easel_diffusion::PredictionType::VPrediction));
        assert_eq!(seen.size_bytes, file.len() as u64);
        let copied = std::fs::read(work.path().join("skeleton/unet/diffusion_pytorch_model.safetensors"));
        assert!(copied.unwrap()[8 + header.len()..].iter().all(|byte| *byte == 0), "no data is copied");
    }
}
