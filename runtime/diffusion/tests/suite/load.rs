//! Both layouts, and what is refused.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use candle_core::{DType, Device, Tensor, safetensors};
use easel_diffusion::{
    Family, Kind, LoadError, LoadOptions, Pipeline, Precision, PredictionType, TextToImage, inspect,
    inspect_header,
};

use crate::golden::{Tensors, bits, folder, load, model, path, tensors};
use crate::torch;

fn refusal(path: &Path) -> LoadError {
    Pipeline::load(path, &LoadOptions::default()).expect_err("this model must be refused")
}

#[test]
fn a_folder_and_a_single_file_are_the_same_model() {
    let dir = folder();
    let from_folder = load(dir.path());
    assert_eq!(from_folder.unet().config(), model().unet().config());
    assert_eq!(from_folder.vae().config(), model().vae().config());
    assert_eq!(from_folder.text_encoder().clip().config(), model().text_encoder().clip().config());
    assert_eq!(from_folder.noise_table(), model().noise_table());
    let request =
        TextToImage { prompt: "a cat".into(), width: 64, height: 64, steps: 2, ..Default::default() };
    let run = |p: &Pipeline| bits(&p.denoise(&request, &mut |_| ControlFlow::Continue(())).unwrap());
    assert_eq!(run(&from_folder), run(model()));
}

#[test]
fn both_layouts_are_recognised_by_their_headers() {
    let file = inspect(&path("tiny-sd1.safetensors")).unwrap();
    let dir = folder();
    let in_folder = inspect(dir.path()).unwrap();
    for seen in [&file, &in_folder] {
        assert_eq!((seen.kind, seen.family), (Kind::Checkpoint, Family::Sd1));
        assert_eq!(seen.prediction_type, Some(PredictionType::Epsilon));
    }
    assert_eq!((file.precision, file.title.as_deref()), (Precision::F16, Some("Tiny SD 1.x")));
    let bytes = fs::read(path("tiny-sd1.safetensors")).unwrap();
    let need = easel_diffusion::header_len(&bytes[..16], bytes.len() as u64).unwrap() as usize;
    assert_eq!(inspect_header(&bytes[..need], bytes.len() as u64).unwrap(), file);
}

/// The single file with some tensors changed.
fn changed(change: impl Fn(&mut Tensors)) -> tempfile::NamedTempFile {
    let mut all = tensors("tiny-sd1.safetensors");
    change(&mut all);
    let file = tempfile::NamedTempFile::new().unwrap();
    safetensors::save(&all, file.path()).unwrap();
    file
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F16, &Device::Cpu).unwrap()
}

#[test]
fn models_that_cannot_run_are_refused_by_name() {
    const FIRST: &str = "model.diffusion_model.input_blocks.0.0.weight";
    type Change = fn(&mut Tensors);
    let cases: &[(&str, Change, &str, &str)] = &[
        (
            "depth",
            |t| drop(t.insert(FIRST.into(), zeros(&[32, 5, 3, 3]))),
            "UnsupportedModel",
            "`model.diffusion_model.input_blocks.0.0.weight` reads 5 channels",
        ),
        (
            "EDM",
            |t| drop(t.insert("edm_vpred.sigma_max".into(), zeros(&[1]))),
            "UnsupportedModel",
            "the EDM formulation (`edm_vpred.sigma_max`)",
        ),
        (
            "a shape that no family has",
            |t| drop(t.insert("model.diffusion_model.input_blocks.1.1.proj_in.weight".into(), zeros(&[32]))),
            "UnsupportedModel",
            "of a family that its tensors do not tell",
        ),
        (
            "missing tensor",
            |t| drop(t.remove("model.diffusion_model.out.2.bias")),
            "MissingTensor",
            "conv_out.bias",
        ),
        (
            "wrong shape",
            |t| drop(t.insert("model.diffusion_model.out.2.bias".into(), zeros(&[5]))),
            "WrongShape",
            "`model.diffusion_model.out.2.bias` is [5], this model needs [4]",
        ),
        (
            "NaN",
            |t| drop(t.insert("model.diffusion_model.out.0.bias".into(), (zeros(&[32]) + f64::NAN).unwrap())),
            "NotFiniteWeights",
            "model.diffusion_model.out.0.bias",
        ),
        ("no VAE", |t| t.retain(|name, _| !name.starts_with("first_stage_model.")), "InvalidConfig", "vae"),
        (
            "UNet alone",
            |t| t.retain(|name, _| name.starts_with("model.diffusion_model.")),
            "UnsupportedModel",
            "of kind Unet",
        ),
        (
            "groups that do not divide",
            |t| {
                drop(t.insert(
                    "model.diffusion_model.input_blocks.1.0.in_layers.2.weight".into(),
                    zeros(&[33, 32, 3, 3]),
                ))
            },
            "InvalidConfig",
            "33 channels",
        ),
    ];
    for (name, change, reason, words) in cases {
        let file = changed(change);
        let error = refusal(file.path());
        assert_eq!(error.reason(), *reason, "{name}: {error}");
        assert!(error.to_string().contains(words), "{name}: {error}");
        assert!(!error.retriable(), "{name}");
    }
}

#[test]
fn a_decoder_without_its_encoder_still_draws() {
    let file = changed(|t| t.retain(|name, _| !name.starts_with("first_stage_model.encoder.")));
    let model = load(file.path());
    let picture = Tensor::zeros((1, 3, 64, 64), DType::F32, &Device::Cpu).unwrap();
    assert!(model.vae().moments(&picture).unwrap_err().to_string().contains("no encoder"));
    let request = TextToImage { width: 64, height: 64, steps: 1, ..Default::default() };
    assert_eq!(model.generate(&request, &mut |_| ControlFlow::Continue(())).unwrap().len(), 1);
}

#[test]
fn configurations_that_the_code_is_not_written_for_are_refused() {
    let cases = [
        ("unet/config.json", "\"act_fn\": \"silu\"", "\"act_fn\": \"gelu\"", "act_fn"),
        (
            "unet/config.json",
            "\"resnet_time_scale_shift\": \"default\"",
            "\"resnet_time_scale_shift\": \"scale_shift\"",
            "scale_shift",
        ),
        ("unet/config.json", "\"attention_head_dim\": 8", "\"attention_head_dim\": 7", "attention_head_dim"),
        ("vae/config.json", "\"norm_num_groups\": 32", "\"norm_num_groups\": 0", "norm_num_groups"),
        ("text_encoder/config.json", "\"hidden_act\": \"quick_gelu\"", "\"hidden_act\": \"relu\"", "relu"),
        ("scheduler/scheduler_config.json", "epsilon", "flow_prediction", "prediction_type"),
        ("scheduler/scheduler_config.json", "scaled_linear", "sigmoid", "beta_schedule"),
    ];
    for (file, old, new, words) in cases {
        let dir = folder();
        let at = dir.path().join(file);
        let text = fs::read_to_string(&at).unwrap();
        assert!(text.contains(old), "{file} has no {old}");
        fs::write(&at, text.replace(old, new)).unwrap();
        let error = refusal(dir.path());
        assert!(error.to_string().contains(words), "{file}: {error}");
    }
}

#[test]
fn a_folder_with_a_component_without_weights_names_it() {
    let dir = folder();
    fs::remove_file(dir.path().join("vae/diffusion_pytorch_model.safetensors")).unwrap();
    let error = refusal(dir.path());
    assert_eq!(error.reason(), "NoWeights");
    assert!(error.to_string().contains("neither diffusion_pytorch_model.safetensors nor"), "{error}");
}

#[test]
fn a_folder_of_pickles_is_read_without_running_them() {
    let dir = folder();
    let at = dir.path().join("vae");
    fs::remove_file(at.join("diffusion_pytorch_model.safetensors")).unwrap();
    let bytes = torch::archive("archive", &torch::pickle(&torch::reduce("os", "system", "id")), &[]);
    fs::write(at.join("diffusion_pytorch_model.bin"), bytes).unwrap();
    let error = refusal(dir.path());
    assert_eq!(error.reason(), "UnsafePickle");
}
