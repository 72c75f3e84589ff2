//! Reading golden files, and the tiny model in both layouts.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use candle_core::{Device, Tensor, safetensors};
use easel_diffusion::{LoadOptions, Pipeline, Sampler};

pub type Tensors = HashMap<String, Tensor>;

pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

pub fn tensors(name: &str) -> Tensors {
    safetensors::load(path(name), &Device::Cpu).unwrap()
}

/// The model from the single file, loaded once.
pub fn model() -> &'static Pipeline {
    static MODEL: OnceLock<Pipeline> = OnceLock::new();
    MODEL.get_or_init(|| load(&path("tiny-sd1.safetensors")))
}

pub fn load(path: &Path) -> Pipeline {
    Pipeline::load(path, &LoadOptions::default()).unwrap()
}

/// A copy of the diffusers folder. The text encoder, whose vocabulary is most of the bytes, is stored
/// once, in the single file, and cut out of it here under the names that transformers 5 writes.
pub fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for part in ["unet", "vae", "text_encoder", "scheduler"] {
        fs::create_dir(dir.path().join(part)).unwrap();
        for entry in fs::read_dir(path("tiny-sd1").join(part)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), dir.path().join(part).join(entry.file_name())).unwrap();
        }
    }
    let prefix = "cond_stage_model.transformer.text_model.";
    let text: Tensors = tensors("tiny-sd1.safetensors")
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor)))
        .collect();
    safetensors::save(&text, dir.path().join("text_encoder/model.safetensors")).unwrap();
    dir
}

/// Is the sampler an ancestral one or of a stochastic differential equation?
pub fn has_fresh_noise(sampler: Sampler) -> bool {
    sampler.entry().eta.is_some_and(|(eta, _)| eta > 0.0) || ["LCM", "DDPM"].contains(&sampler.name())
}

pub fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1::<f32>().unwrap()
}

pub fn bits(x: &Tensor) -> Vec<u32> {
    values(x).iter().map(|v| v.to_bits()).collect()
}

/// The largest difference, which must not exceed `atol`; returned for [`crate::parity::record`].
#[track_caller]
pub fn assert_close(name: &str, got: &Tensor, want: &Tensor, atol: f32) -> f64 {
    assert_eq!(got.dims(), want.dims(), "{name}");
    let (got, want) = (values(got), values(want));
    let worst = got
        .iter()
        .zip(&want)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0_f32, |m, d| if d > m || d.is_nan() { d } else { m });
    println!("{name}: max abs difference {worst:e}, allowed {atol:e}");
    assert!(worst <= atol, "{name}: max abs difference {worst:e}, allowed {atol:e}");
    f64::from(worst)
}
