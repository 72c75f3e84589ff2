//! ControlNets against diffusers' residuals (`golden/control/make.py`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use candle_core::{Tensor, safetensors};
use easel_diffusion::config::UnetConfig;
use easel_diffusion::control::preprocess::Prepared;
use easel_diffusion::control::{
    ActiveUnit, ControlError, ControlMode, ControlNet, ControlOptions, ControlUnit, sum_residuals,
};
use easel_diffusion::unet::{ControlResiduals, UnetInput, added_embedding};
use image::RgbImage;

use crate::golden::{Tensors, assert_close, bits, model, path, tensors, values};
use crate::parity;
use crate::raster::rgb;

/// Each bound is two and a half times the largest difference between diffusers in f32 and in f64
/// (`golden/control/spread.json`), all below the 1e-5 asked for at weight 1; the sum is of two networks at
/// 0.7 and 1.2.
const RESIDUALS: f32 = 2.5 * 2.53e-6;
const SUM: f32 = 2.5 * 4.71e-6;
const UNET: f32 = 2.5 * 2.43e-6;
const ORIGIN: &str = "2.5 x diffusers' f32-f64 spread";

fn golden() -> &'static Tensors {
    static GOLDEN: OnceLock<Tensors> = OnceLock::new();
    GOLDEN.get_or_init(|| tensors("control/control.safetensors"))
}

/// The network of this name in the original layout. Those for SD 1.x are the tiny UNet's way down and
/// what only a ControlNet has.
fn original(name: &str) -> Tensors {
    let mut weights = tensors(&format!("control/{name}.safetensors"));
    if name.starts_with("sd1") {
        for (name, tensor) in tensors("tiny-sd1.safetensors") {
            let Some(rest) = name.strip_prefix("model.diffusion_model.") else { continue };
            if !rest.starts_with("output_blocks.") && !rest.starts_with("out.") {
                weights.insert(format!("control_model.{rest}"), tensor);
            }
        }
    }
    weights
}

fn write(weights: &Tensors, dir: &Path, file: &str) -> PathBuf {
    let path = dir.join(file);
    safetensors::save(weights, &path).unwrap();
    path
}

/// The same network as a diffusers folder.
fn folder(name: &str, dir: &Path) -> PathBuf {
    let family = &name[..name.find('-').unwrap_or(name.len())];
    let names: HashMap<String, HashMap<String, String>> =
        serde_json::from_slice(&std::fs::read(path("control/names.json")).unwrap()).unwrap();
    let weights =
        original(name).into_iter().map(|(old, tensor)| (names[family][&old].clone(), tensor)).collect();
    write(&weights, dir, "diffusion_pytorch_model.safetensors");
    std::fs::copy(path(&format!("control/{family}.config.json")), dir.join("config.json")).unwrap();
    dir.to_owned()
}

fn load(path: &Path) -> Result<ControlNet, ControlError> {
    ControlNet::load(path, &ControlOptions::default())
}

fn net(name: &str) -> Arc<ControlNet> {
    let dir = tempfile::tempdir().unwrap();
    Arc::new(load(&folder(name, dir.path())).unwrap())
}

fn get(name: &str) -> &'static Tensor {
    &golden()[name]
}

fn hint(name: &str) -> Prepared {
    rgb(get(name)).into()
}

fn sd1_input<'a>() -> UnetInput<'a> {
    UnetInput::new(get("sd1.x"), get("sd1.t"), get("sd1.context"))
}

fn unit(net: &Arc<ControlNet>, hint_name: &str, weight: f32) -> ControlUnit {
    ControlUnit { weight, ..ControlUnit::new(Arc::clone(net), hint(hint_name)) }
}

fn active(unit: &ControlUnit) -> ActiveUnit {
    let (width, height) = unit.hint.picture.dimensions();
    unit.activate(0, width, height).unwrap()
}

/// The residuals, the middle last.
fn all(residuals: &ControlResiduals) -> Vec<&Tensor> {
    residuals.down.iter().chain([&residuals.mid]).collect()
}

fn wanted(case: &str) -> Vec<&'static Tensor> {
    (0..).map_while(|n| golden().get(&format!("{case}.{n}"))).chain([get(&format!("{case}.mid"))]).collect()
}

#[track_caller]
fn assert_residuals(case: &str, got: &ControlResiduals, want: &[&Tensor], bound: f32) {
    assert_eq!(got.down.len() + 1, want.len(), "{case}");
    let mut worst = 0.0_f64;
    for (n, (got, want)) in all(got).into_iter().zip(want).enumerate() {
        assert_close(&format!("{case} {n}"), got, want, bound);
        let off = values(got).into_iter().zip(values(want)).map(|(a, b)| f64::from((a - b).abs()));
        worst = off.fold(worst, f64::max);
    }
    parity::record("ControlNet", case, worst, f64::from(bound), ORIGIN);
}

#[test]
fn residuals_are_those_of_diffusers() {
    let got = active(&unit(&net("sd1-a"), "sd1.hint0", 1.0)).residuals(&sd1_input(), &[true; 2]).unwrap();
    assert_residuals("residuals, SD 1.x", &got, &wanted("sd1.plain"), RESIDUALS);
}

#[test]
fn residuals_of_sdxl_are_those_of_diffusers() {
    let net = net("sdxl");
    let added = added_embedding(get("sdxl.pooled"), get("sdxl.time_ids")).unwrap();
    let input = UnetInput {
        added: Some(&added),
        ..UnetInput::new(get("sdxl.x"), get("sdxl.t"), get("sdxl.context"))
    };
    let unit = active(&unit(&net, "sdxl.hint0", 1.0));
    let got = unit.residuals(&input, &[true; 2]).unwrap();
    assert_residuals("residuals, SDXL", &got, &wanted("sdxl.plain"), RESIDUALS);
    let bare = UnetInput { added: None, ..input };
    assert!(unit.residuals(&bare, &[true; 2]).is_err(), "without pooled text");
}

#[test]
fn both_layouts_hold_the_same_network_bit_for_bit() {
    for name in ["sd1-a", "sdxl"] {
        let dir = tempfile::tempdir().unwrap();
        let single = load(&write(&original(name), dir.path(), "single.safetensors")).unwrap();
        let bare: Tensors = original(name)
            .into_iter()
            .map(|(name, tensor)| (name.strip_prefix("control_model.").unwrap().to_owned(), tensor))
            .collect();
        let bare = load(&write(&bare, dir.path(), "bare.safetensors")).unwrap();
        let folder = load(&folder(name, dir.path())).unwrap();
        let file = load(&dir.path().join("diffusion_pytorch_model.safetensors")).unwrap();
        let case = &name[..name.find('-').unwrap_or(name.len())];
        let get = |part: &str| get(&format!("{case}.{part}"));
        let added = golden()
            .get(&format!("{case}.pooled"))
            .map(|pooled| added_embedding(pooled, get("time_ids")).unwrap());
        let input = UnetInput { added: added.as_ref(), ..UnetInput::new(get("x"), get("t"), get("context")) };
        let run = |net: ControlNet| -> Vec<Vec<u32>> {
            // SD 1.x has 8 heads, SDXL heads of 64; the tiny networks of this test have what files without a
            // configuration are taken to have.
            let unit = active(&unit(&Arc::new(net), &format!("{case}.hint0"), 1.0));
            all(&unit.residuals(&input, &[true; 2]).unwrap()).into_iter().map(bits).collect()
        };
        let want = run(folder);
        assert!(run(single) == want && run(bare) == want && run(file) == want, "{name}");
    }
}

#[test]
fn modes_scale_as_the_extension_does() {
    let plain = wanted("sd1.plain");
    let soft = get("soft").to_vec1::<f64>().unwrap();
    let net = net("sd1-a");
    for (name, mode, only_first) in
        [("prompt mode", ControlMode::Prompt, false), ("control mode", ControlMode::Control, true)]
    {
        let unit = ControlUnit { mode, ..unit(&net, "sd1.hint0", 0.7) };
        let got = active(&unit).residuals(&sd1_input(), &[true, false]).unwrap();
        let want: Vec<Tensor> = plain
            .iter()
            .zip(&soft)
            .map(|(residual, scale)| {
                let scaled = (*residual * (0.7 * scale)).unwrap();
                let second = scaled.narrow(0, 1, 1).unwrap();
                let second = if only_first { second.zeros_like().unwrap() } else { second };
                Tensor::cat(&[scaled.narrow(0, 0, 1).unwrap(), second], 0).unwrap()
            })
            .collect();
        assert_residuals(name, &got, &want.iter().collect::<Vec<_>>(), RESIDUALS);
    }
}

#[test]
fn a_softened_unit_lets_the_prompt_lead() {
    let net = net("sd1-a");
    let run = |unit: ActiveUnit| bits(&unit.residuals(&sd1_input(), &[true, false]).unwrap().down[0]);
    let in_mode = |mode| active(&ControlUnit { mode, ..unit(&net, "sd1.hint0", 1.0) });
    for (mode, as_if) in [
        (ControlMode::Balanced, ControlMode::Prompt),
        (ControlMode::Prompt, ControlMode::Prompt),
        (ControlMode::Control, ControlMode::Control),
    ] {
        assert_eq!(run(in_mode(mode).softened()), run(in_mode(as_if)), "{mode:?}");
    }
}

#[test]
fn a_pooling_network_gives_means_and_only_to_the_prompt() {
    let dir = tempfile::tempdir().unwrap();
    let options = ControlOptions { global_pool: Some(true) };
    let net = Arc::new(ControlNet::load(&folder("sd1-a", dir.path()), &options).unwrap());
    let unit = active(&unit(&net, "sd1.hint0", 0.7));
    let got = unit.residuals(&sd1_input(), &[true; 2]).unwrap();
    let want: Vec<Tensor> = wanted("sd1.pooled")
        .iter()
        .zip(wanted("sd1.plain"))
        .map(|(mean, like)| mean.broadcast_as(like.shape()).unwrap().contiguous().unwrap())
        .collect();
    assert_residuals("global pooling", &got, &want.iter().collect::<Vec<_>>(), RESIDUALS);
    let half = unit.residuals(&sd1_input(), &[false, true]).unwrap();
    for (half, both) in all(&half).into_iter().zip(all(&got)) {
        assert!(values(&half.narrow(0, 0, 1).unwrap()).iter().all(|v| *v == 0.0));
        assert_eq!(
            bits(&half.narrow(0, 1, 1).unwrap().contiguous().unwrap()),
            bits(&both.narrow(0, 1, 1).unwrap().contiguous().unwrap())
        );
    }
}

#[test]
fn two_networks_add_up_and_steer_the_unet() {
    let units =
        [unit(&net("sd1-a"), "sd1.hint0", 0.7), unit(&net("sd1-b"), "sd1.hint1", 1.2)].map(|u| active(&u));
    let sum = sum_residuals(&units, &sd1_input(), &[true; 2], (0, 20)).unwrap().unwrap();
    assert_residuals("two networks", &sum, &wanted("sd1.sum"), SUM);
    let out = model().unet().forward(&UnetInput { control: Some(&sum), ..sd1_input() }).unwrap();
    assert_close("UNet", &out, get("sd1.unet"), UNET);
    let free = model().unet().forward(&sd1_input()).unwrap();
    let moved = values(&out).iter().zip(values(&free)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(moved > 100.0 * UNET, "control changes the prediction by {moved}");
}

#[test]
fn a_unit_works_between_its_start_and_end() {
    let whole = unit(&net("sd1-a"), "sd1.hint0", 1.0);
    let part = active(&ControlUnit { start: 0.25, end: 0.5, ..whole.clone() });
    let steps: Vec<usize> = (0..20).filter(|step| part.works_at(*step, 20)).collect();
    assert_eq!(steps, (5..=10).collect::<Vec<_>>(), "both ends included");
    let at = |step| sum_residuals(std::slice::from_ref(&part), &sd1_input(), &[true; 2], (step, 20)).unwrap();
    assert!(at(4).is_none() && at(5).is_some());
    let silent = active(&ControlUnit { weight: 0.0, ..whole });
    assert!(!silent.works_at(0, 20), "no weight, no work");
}

#[test]
fn a_sample_does_not_feel_its_company() {
    let unit = active(&unit(&net("sd1-a"), "sd1.hint0", 1.0));
    let both = unit.residuals(&sd1_input(), &[true, false]).unwrap();
    for i in 0..2 {
        let one = |x: &Tensor| x.narrow(0, i, 1).unwrap().contiguous().unwrap();
        let (x, t, context) = (one(get("sd1.x")), one(get("sd1.t")), one(get("sd1.context")));
        let alone = unit.residuals(&UnetInput::new(&x, &t, &context), &[i == 0]).unwrap();
        for (alone, both) in all(&alone).into_iter().zip(all(&both)) {
            assert_eq!(bits(alone), bits(&one(both)), "sample {i}");
        }
    }
}

#[test]
fn an_inpainting_latent_is_read_up_to_its_fourth_channel() {
    let unit = active(&unit(&net("sd1-a"), "sd1.hint0", 1.0));
    let more = Tensor::cat(&[get("sd1.x"), get("sd1.x"), &get("sd1.x").narrow(1, 0, 1).unwrap()], 1).unwrap();
    let wide = UnetInput { x: &more, ..sd1_input() };
    let (got, want) =
        (unit.residuals(&wide, &[true; 2]).unwrap(), unit.residuals(&sd1_input(), &[true; 2]).unwrap());
    assert_eq!(bits(&got.mid), bits(&want.mid));
}

#[test]
fn another_family_is_named_with_tensor_shapes_and_remedy() {
    let unet = model().unet().config();
    let own = net("sd1-a");
    own.check_fits(unet).unwrap();
    let elements: usize = original("sd1-a").values().map(Tensor::elem_count).sum();
    assert_eq!(own.weight_bytes(), 4 * elements as u64);
    let error = net("sdxl").check_fits(unet).unwrap_err();
    assert_eq!(error.reason(), "WrongFamily");
    let text = error.to_string();
    assert!(
        text.contains("attn2.to_k.weight") && text.contains("[32, 24]") && text.contains("choose"),
        "{text}"
    );
    let real = |context, added| UnetConfig { context, added, ..unet.clone() };
    for (config, family) in
        [(real(768, None), "SD 1.x"), (real(1024, None), "SD 2.x"), (real(2048, Some(2816)), "SDXL")]
    {
        let error = net("sd1-a").check_fits(&config).unwrap_err().to_string();
        assert!(error.contains(&format!("choose a ControlNet for {family}")), "{error}");
    }
}

#[test]
fn other_files_say_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let error = load(&path("tiny-sd1.safetensors")).unwrap_err();
    assert_eq!(error.reason(), "NotAControlNet");
    assert!(error.to_string().contains("Checkpoint"), "{error}");
    for (tensor, found) in
        [("lllite_unet.x", "LLLite"), ("lora_controlnet", "Control-LoRA"), ("difference", "difference")]
    {
        let mut weights = original("sd1-a");
        weights.insert(tensor.to_owned(), get("soft").clone());
        let error = load(&write(&weights, dir.path(), "relative.safetensors")).unwrap_err();
        assert!(error.reason() == "NotAControlNet" && error.to_string().contains(found), "{error}");
    }
    assert_eq!(load(&dir.path().join("none")).unwrap_err().reason(), "FileUnreadable");
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(load(empty.path()).unwrap_err().reason(), "NoWeights");
}

#[test]
fn damaged_networks_are_errors_that_name_the_tensor() {
    let dir = tempfile::tempdir().unwrap();
    for (name, reason) in [
        ("control_model.input_hint_block.0.bias", "MissingTensor"),
        ("control_model.input_hint_block.14.weight", "MissingTensor"),
        ("control_model.zero_convs.5.0.weight", "MissingTensor"),
        ("control_model.middle_block_out.0.bias", "MissingTensor"),
        ("control_model.time_embed.0.weight", "MissingTensor"),
    ] {
        let mut weights = original("sd1-a");
        weights.remove(name).unwrap();
        assert_eq!(
            load(&write(&weights, dir.path(), "x.safetensors")).unwrap_err().reason(),
            reason,
            "{name}"
        );
    }
    for name in ["control_model.input_hint_block.0.bias", "control_model.zero_convs.0.0.bias"] {
        let mut weights = original("sd1-a");
        let empty = Tensor::zeros(0, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        weights.insert(name.to_owned(), empty);
        let error = load(&write(&weights, dir.path(), "x.safetensors")).unwrap_err();
        assert!(error.reason() == "WrongShape" && error.to_string().contains(name), "{error}");
    }
}

#[test]
fn wrong_numbers_and_sizes_are_refused() {
    let good = unit(&net("sd1-a"), "sd1.hint0", 1.0);
    let refused = |unit: &ControlUnit, width, height| unit.activate(3, width, height).unwrap_err();
    for (unit, what) in [
        (ControlUnit { weight: -0.1, ..good.clone() }, "weight"),
        (ControlUnit { weight: f32::NAN, ..good.clone() }, "weight"),
        (ControlUnit { weight: 2.5, ..good.clone() }, "weight"),
        (ControlUnit { start: 1.5, end: 2.0, ..good.clone() }, "start"),
        (ControlUnit { start: 0.5, end: 0.2, ..good.clone() }, "end"),
    ] {
        let error = refused(&unit, 128, 96);
        assert_eq!(error.reason(), "ControlOutOfRange");
        assert!(error.to_string().contains(what) && error.to_string().contains("ControlNet 3"), "{error}");
    }
    assert_eq!(refused(&good, 100, 96).reason(), "InvalidSize");
    assert_eq!(refused(&good, 1 << 15, 1 << 15).reason(), "PictureTooLarge");
    let empty = ControlUnit { hint: RgbImage::new(0, 0).into(), ..good.clone() };
    assert_eq!(refused(&empty, 128, 96).reason(), "EmptyPicture");
    let many = vec![good; 11];
    assert_eq!(ActiveUnit::all(&many, 128, 96).unwrap_err().reason(), "TooManyControlNets");
}
