//! Models in training, with variables and batches drawn from seeds.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use easel_diffusion::random::TorchRng;
use easel_diffusion::train::{
    Batch, Captions, FullOptions, HypernetworkOptions, LoraOptions, LoraShape, Method, MicroConditions,
    Objective, TextualInversionOptions, Trainee,
};

use crate::families_model::{file, model};
use crate::golden::{Tensors, path};

/// The word that textual inversion trains.
pub const WORD: &str = "qqq";

/// A model's file, which goes when this does.
pub fn base(family: &str) -> tempfile::NamedTempFile {
    if family == "sd1" {
        let copy = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(path("tiny-sd1.safetensors"), copy.path()).unwrap();
        return copy;
    }
    let mut all: Tensors = if family == "sd2" { model("sd2") } else { model("sdxl") }.single_file();
    if family == "sd2" {
        all.insert("v_pred".into(), Tensor::zeros(0, DType::F32, &Device::Cpu).unwrap());
    }
    file(&all, DType::F16)
}

pub fn trainee(family: &str, method: &Method, gamma: Option<f64>) -> Trainee {
    let objective = Objective { min_snr_gamma: gamma, ..Default::default() };
    Trainee::with_objective(base(family).path(), method, objective, 3).unwrap_or_else(|e| panic!("{e}"))
}

pub fn shape(rank: usize, alpha: f64) -> LoraShape {
    LoraShape { rank, alpha }
}

pub fn lora() -> Method {
    Method::Lora(LoraOptions {
        shape: shape(4, 2.0),
        conv: Some(shape(3, 3.0)),
        text_encoder: Some(shape(2, 4.0)),
        ..Default::default()
    })
}

pub fn inversion() -> Method {
    Method::TextualInversion(TextualInversionOptions { name: WORD.into(), vectors: 3, initial: "cat".into() })
}

pub fn hypernetwork() -> Method {
    Method::Hypernetwork(HypernetworkOptions {
        activation: "relu".into(),
        layer_norm: true,
        ..Default::default()
    })
}

pub fn full(text_encoder: bool) -> Method {
    Method::Full(FullOptions { unet: true, text_encoder })
}

pub fn drawn(seed: u64, shape: &[usize]) -> Tensor {
    Tensor::from_vec(TorchRng::new(seed).randn(shape.iter().product()), shape, &Device::Cpu).unwrap()
}

/// Two samples of this size in latents.
pub fn batch(height: usize, width: usize) -> Batch {
    let sizes = |original, crop| MicroConditions { original, crop, target: (64, 64) };
    Batch {
        latents: drawn(11, &[2, 4, height, width]),
        noise: drawn(12, &[2, 4, height, width]),
        timesteps: vec![801, 40],
        captions: Captions::Texts(vec![
            "a red circle on a blue background".into(),
            "two squares (green)".into(),
        ]),
        weights: vec![1.0, 0.5],
        micro: Some(vec![sizes((512, 640), (8, 0)), sizes((64, 64), (0, 0))]),
        dropout_seed: 1,
    }
}

/// The same with captions that name the trained word.
pub fn batch_of_word(height: usize, width: usize) -> Batch {
    let captions = vec![format!("a drawing of {WORD}, red"), WORD.to_owned()];
    Batch { captions: Captions::Texts(captions), ..batch(height, width) }
}

/// Gives every variable normal numbers times `scale`, of seeds in the order of names.
pub fn fill(trainee: &Trainee, scale: f32) {
    let mut names: Vec<_> = trainee.variables().iter().collect();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    for (i, v) in names.into_iter().enumerate() {
        let value = TorchRng::new(5000 + i as u64).randn(v.var.elem_count());
        let value: Vec<f32> = value.into_iter().map(|x| x * scale).collect();
        v.var.set(&Tensor::from_vec(value, v.var.dims(), &Device::Cpu).unwrap()).unwrap();
    }
}

/// The loss, and the gradients by name.
pub fn step(trainee: &Trainee, batch: &Batch) -> (f32, BTreeMap<String, Tensor>) {
    let (loss, gradients) = trainee.step(batch).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(gradients.len(), trainee.variables().len());
    (loss, trainee.variables().iter().map(|v| v.name.clone()).zip(gradients).collect())
}

pub fn values(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect()
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
