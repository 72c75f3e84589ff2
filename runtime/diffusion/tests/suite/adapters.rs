//! Adapters of every method and layout against LyCORIS, PEFT and diffusers (`golden/adapters/make.py`).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use candle_core::{DType, Tensor, safetensors};
use easel_diffusion::adapters::{Adapter, FittedAdapter, ModelNames};
use easel_diffusion::layout::LdmNames;
use easel_diffusion::pipeline::{AdapterUse, Networks, VariantKey};
use easel_diffusion::unet::UnetInput;
use easel_diffusion::weights::{Weights, WeightsBuilder, read_header};

use crate::golden::{Tensors, assert_close, bits, model, path, tensors};
use crate::parity;

/// Asked for by the project; the references' own difference between f32 and f64 is 2.2e-7
/// (`golden/adapters/spread.json`). Measured on AVX-512: 1.2e-7.
const MERGED: f32 = 1e-6;
/// Two and a half times the reference's difference between f32 and f64. Measured on AVX-512: 4.5e-6.
const UNET: f32 = 2.5 * 5.32e-6;
pub const SPREAD: &str = "2.5 × the reference's own difference between f32 and f64";

pub fn adapter(name: &str) -> Arc<Adapter> {
    Arc::new(Adapter::load(&path(&format!("adapters/{name}.safetensors")), None).unwrap())
}

/// The tensors of the tiny model, under the engine's names.
pub fn weights() -> &'static Arc<Weights> {
    static WEIGHTS: OnceLock<Arc<Weights>> = OnceLock::new();
    WEIGHTS.get_or_init(|| {
        let file = read_header(&path("tiny-sd1.safetensors")).unwrap();
        let names = LdmNames::learn(file.header.tensors.keys().map(String::as_str));
        let mut builder = WeightsBuilder::default();
        builder.add(file, |name| names.rename(name)).unwrap();
        builder.build()
    })
}

pub fn names() -> ModelNames {
    ModelNames::of(weights())
}

/// The model's tensor with these adapters in order, each at its weight everywhere.
fn merged(adapters: &[(&FittedAdapter, f32)], name: &str) -> Tensor {
    adapters.iter().fold(weights().tensor(name).unwrap(), |base, (fitted, weight)| {
        let patch = fitted.patch(*weight, *weight);
        patch.apply(name, &base).unwrap().unwrap_or(base)
    })
}

/// The golden weights of a case: the tensor's name, the adapter's weight, the values.
fn golden(case: &str) -> Vec<(String, f32, Tensor)> {
    let all: Tensors = tensors("adapters/merged.safetensors");
    let mut found = Vec::new();
    for (key, tensor) in all {
        let Some((name, weight)) = key.strip_prefix(&format!("{case}/")).and_then(|k| k.split_once('@'))
        else {
            continue;
        };
        found.push((name.to_owned(), weight.parse().unwrap(), tensor));
    }
    assert!(!found.is_empty(), "{case} has no golden weights");
    found
}

#[test]
fn merged_weights_are_those_of_lycoris_and_peft() {
    let cases = [
        ("lora", "LoRA (LyCORIS)"),
        ("locon", "LoCon"),
        ("locon-cp", "LoCon, Tucker"),
        ("loha", "LoHa"),
        ("loha-cp", "LoHa, Tucker"),
        ("lokr", "LoKr"),
        ("lokr-full", "LoKr, full matrices"),
        ("lokr-cp", "LoKr, Tucker"),
        ("dora", "DoRA, rows"),
        ("dora-columns", "DoRA, columns"),
        ("doha-dokr", "LoHa and LoKr with DoRA"),
        ("ia3", "IA3 (LyCORIS)"),
        ("full", "full differences and norms"),
        ("peft-lora", "LoRA (PEFT, saved by diffusers)"),
        ("peft-dora", "DoRA (PEFT)"),
        ("peft-ia3", "IA3 (PEFT)"),
    ];
    for (case, feature) in cases {
        let fitted = adapter(case).fit(&names()).unwrap();
        assert_eq!(fitted.unknown(), &[] as &[String], "{case}");
        let mut worst = 0.0_f64;
        for (name, weight, want) in golden(case) {
            let base = weights().tensor(&name).unwrap();
            assert!(name.ends_with(".bias") || bits(&base) != bits(&want), "{case} does not change {name}");
            let got = merged(&[(&fitted, weight)], &name);
            worst = worst.max(assert_close(&format!("{case} {name}"), &got, &want, MERGED));
        }
        parity::record(
            "Adapters",
            &format!("merged weights, {feature}"),
            worst,
            f64::from(MERGED),
            "the bound set for it",
        );
    }
}

#[test]
fn every_layout_of_one_lora_gives_the_same_bits() {
    let mut first: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for layout in ["kohya", "kohya-ldm", "webui", "diffusers", "diffusers-old", "processors"] {
        let fitted = adapter(&format!("layout-{layout}")).fit(&names()).unwrap();
        assert_eq!((fitted.modules(), fitted.unknown().len()), (6, 0), "{layout}");
        let mut worst = 0.0_f64;
        for (name, weight, want) in golden("layout") {
            let got = merged(&[(&fitted, weight)], &name);
            worst = worst.max(assert_close(&format!("{layout} {name}"), &got, &want, MERGED));
            let same = first.entry(name.clone()).or_insert_with(|| bits(&got));
            assert_eq!(*same, bits(&got), "{layout} {name}");
        }
        parity::record(
            "Adapters",
            &format!("layout {layout}"),
            worst,
            f64::from(MERGED),
            "the bound set for it",
        );
    }
}

#[test]
fn the_second_adapter_changes_what_the_first_left() {
    let (lora, dora) = (adapter("lora").fit(&names()).unwrap(), adapter("dora").fit(&names()).unwrap());
    let (name, _, want) = golden("lora-then-dora").remove(0);
    let got = merged(&[(&lora, 0.7), (&dora, 1.0)], &name);
    let worst = assert_close(&name, &got, &want, MERGED);
    parity::record(
        "Adapters",
        "LoRA, then DoRA of the result",
        worst,
        f64::from(MERGED),
        "the bound set for it",
    );
    let other = merged(&[(&dora, 1.0), (&lora, 0.7)], &name);
    assert_ne!(bits(&got), bits(&other), "the order counts");
}

/// What these networks' UNet answers to the golden input.
pub fn predicted(networks: &Networks) -> Tensor {
    let input = tensors("unet.safetensors");
    let input = UnetInput::new(&input["square.x"], &input["square.t"], &input["square.context"]);
    networks.unet.forward(&input).unwrap()
}

/// The same of a variant of the tiny model.
pub fn unet_output(key: &VariantKey) -> Tensor {
    predicted(&model().variant(key).unwrap())
}

#[test]
fn the_unet_with_a_lora_is_that_of_diffusers() {
    let used = AdapterUse { adapter: adapter("peft-lora"), unet_weight: 0.7, text_weight: 0.0 };
    let got = unet_output(&VariantKey { adapters: vec![used], ..Default::default() });
    let want = &tensors("adapters/merged.safetensors")["peft-lora/unet"];
    assert_ne!(bits(&unet_output(&VariantKey::default())), bits(&got));
    let worst = assert_close("peft-lora at 0.7", &got, want, UNET);
    parity::record("Adapters", "UNet with a LoRA at 0.7", worst, f64::from(UNET), SPREAD);
}

#[test]
fn text_and_unet_have_weights_of_their_own() {
    let fitted = adapter("lora").fit(&names()).unwrap();
    let text = "text.encoder.layers.0.self_attn.q_proj.weight";
    let unet = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight";
    for (unet_weight, text_weight) in [(0.7, 0.0), (0.0, 0.7)] {
        let patch = fitted.patch(unet_weight, text_weight);
        let changes = |name: &str| patch.apply(name, &weights().tensor(name).unwrap()).unwrap().is_some();
        assert_eq!((changes(unet), changes(text)), (unet_weight != 0.0, text_weight != 0.0));
        assert!(!changes("unet.conv_in.weight") && !changes("vae.decoder.conv_in.weight"));
    }
}

#[test]
fn half_precision_files_are_read_as_what_they_hold() {
    let original = tensors("adapters/lora.safetensors");
    for dtype in [DType::F16, DType::BF16] {
        let half: Tensors = original.iter().map(|(n, t)| (n.clone(), t.to_dtype(dtype).unwrap())).collect();
        let same: Tensors = half.iter().map(|(n, t)| (n.clone(), t.to_dtype(DType::F32).unwrap())).collect();
        let load = |tensors: &Tensors| {
            let file = tempfile::NamedTempFile::new().unwrap();
            safetensors::save(tensors, file.path()).unwrap();
            Arc::new(Adapter::load(file.path(), None).unwrap()).fit(&names()).unwrap()
        };
        let (half, same) = (load(&half), load(&same));
        for (name, weight, _) in golden("lora") {
            let (a, b) = (merged(&[(&half, weight)], &name), merged(&[(&same, weight)], &name));
            assert_eq!(bits(&a), bits(&b), "{dtype:?} {name}");
        }
    }
}

#[test]
fn scale_stands_before_alpha() {
    let mut all = tensors("adapters/lora.safetensors");
    let keys: Vec<String> = all.keys().filter(|k| k.ends_with(".alpha")).cloned().collect();
    for key in &keys {
        let alpha = all[key].clone();
        // alpha / rank of the golden file, and an alpha that must not count.
        all.insert(key.replace(".alpha", ".scale"), (alpha.clone() / 4.0).unwrap());
        all.insert(key.clone(), (alpha * 100.0).unwrap());
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    safetensors::save(&all, file.path()).unwrap();
    let fitted = Arc::new(Adapter::load(file.path(), None).unwrap()).fit(&names()).unwrap();
    let original = adapter("lora").fit(&names()).unwrap();
    for (name, weight, _) in golden("lora") {
        assert_eq!(bits(&merged(&[(&fitted, weight)], &name)), bits(&merged(&[(&original, weight)], &name)));
    }
}
