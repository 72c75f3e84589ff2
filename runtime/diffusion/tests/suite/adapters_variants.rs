//! Adapters come and go without a trace, and separate autoencoders take the model's place.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Tensor, safetensors};
use easel_diffusion::pipeline::{AdapterUse, Networks, SeparateVae, VariantKey};
use easel_diffusion::text::EncodeOptions;
use easel_diffusion::weights::Padding;

use crate::adapters::{adapter, names, predicted, unet_output, weights};
use crate::golden::{Tensors, bits, folder, load, model, path, tensors};

fn with(name: &str, unet_weight: f32, text_weight: f32) -> VariantKey {
    let adapters = vec![AdapterUse { adapter: adapter(name), unet_weight, text_weight }];
    VariantKey { adapters, ..Default::default() }
}

fn all_bits() -> BTreeMap<String, Vec<u32>> {
    let names: Vec<String> = weights().shapes().map(|(name, _)| name.to_owned()).collect();
    names
        .into_iter()
        .map(|name| {
            let b = bits(&weights().tensor(&name).unwrap());
            (name, b)
        })
        .collect()
}

#[test]
fn every_tensor_is_bit_for_bit_what_it_was_before_the_adapters() {
    let before = all_bits();
    for case in ["lora", "locon", "loha", "lokr", "dora", "ia3", "full", "peft-lora"] {
        let patch = adapter(case).fit(&names()).unwrap().patch(0.7, -0.3);
        let mut changed = 0;
        for name in before.keys() {
            let base = weights().tensor(name).unwrap();
            if let Some(new) = patch.apply(name, &base).unwrap() {
                changed += usize::from(bits(&new) != before[name]);
            }
        }
        assert!(changed > 0, "{case}");
        assert_eq!(all_bits(), before, "{case}");
    }
}

#[test]
fn networks_without_an_adapter_do_not_remember_it() {
    let model = load(&path("tiny-sd1.safetensors"));
    let answers = |key: &VariantKey| {
        let networks = model.variant(key).unwrap();
        let context = networks.text.encode("a cat", &EncodeOptions::default()).unwrap().context;
        [bits(&context), bits(&predicted(&networks))]
    };
    let before = answers(&VariantKey::default());
    let adapted = answers(&with("lora", 0.7, 1.0));
    assert!(before[0] != adapted[0] && before[1] != adapted[1]);
    assert_eq!(answers(&VariantKey::default()), before);
    assert_eq!(answers(&with("lora", 0.7, 1.0)), adapted);
}

#[test]
fn variants_used_at_once_do_not_disturb_each_other() {
    let keys =
        [VariantKey::default(), with("lora", 0.7, 0.0), with("locon", 1.0, 0.0), with("dora", -0.5, 0.0)];
    let alone: Vec<_> = keys.iter().map(|key| bits(&unet_output(key))).collect();
    for (i, one) in alone.iter().enumerate() {
        assert!(alone[..i].iter().all(|other| other != one), "variant {i} differs from the others");
    }
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..2)
            .flat_map(|_| keys.iter().zip(&alone))
            .map(|(key, want)| scope.spawn(move || assert_eq!(bits(&unet_output(key)), *want)))
            .collect();
        for run in runs {
            run.join().unwrap();
        }
    });
}

#[test]
fn the_same_key_gives_the_same_networks_until_others_push_it_out() {
    let model = load(&path("tiny-sd1.safetensors"));
    let get = |key: &VariantKey| model.variant(key).unwrap();
    let key = with("lora", 0.7, 0.7);
    let first = get(&key);
    assert!(Arc::ptr_eq(&first, &get(&key)));
    let mut other = key.clone();
    other.adapters[0].text_weight = 0.5;
    assert!(!Arc::ptr_eq(&first, &get(&other)));
    let tiled = VariantKey { padding: Padding::Circular, ..key.clone() };
    assert!(!Arc::ptr_eq(&first, &get(&tiled)));
    assert!(Arc::ptr_eq(&first, &get(&key)), "three are kept");
    for weight in [0.1, 0.2, 0.3] {
        get(&VariantKey {
            adapters: vec![AdapterUse { unet_weight: weight, ..key.adapters[0].clone() }],
            ..Default::default()
        });
    }
    assert!(!Arc::ptr_eq(&first, &get(&key)), "the least recently used goes first");
    let bytes = |key: &VariantKey| model.variant_bytes(key).unwrap();
    assert_eq!(
        (bytes(&key), bytes(&with("lora", 0.0, 0.0))),
        ((32 * 32 + 64 * 16 + 32 * 128 + 16 * 16) * 4, 0)
    );
    let none = with("lora", 0.0, 0.0);
    assert!(Arc::ptr_eq(&get(&none), &get(&VariantKey::default())), "weights of zero are no adapter");
}

/// The tiny model's autoencoder as its own file: as `ldm` names it with and without the prefix, and as
/// diffusers does.
fn vae_files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let prefix = "first_stage_model.";
    let ldm: Tensors =
        tensors("tiny-sd1.safetensors").into_iter().filter(|(n, _)| n.starts_with(prefix)).collect();
    let bare: Tensors = ldm.iter().map(|(n, t)| (n[prefix.len()..].to_owned(), t.clone())).collect();
    let paths = vec![
        dir.join("prefixed.safetensors"),
        dir.join("bare.safetensors"),
        dir.join("diffusers.safetensors"),
    ];
    safetensors::save(&ldm, &paths[0]).unwrap();
    safetensors::save(&bare, &paths[1]).unwrap();
    std::fs::copy(folder().path().join("vae/diffusion_pytorch_model.safetensors"), &paths[2]).unwrap();
    paths
}

#[test]
fn a_separate_autoencoder_of_any_layout_takes_the_models_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = tensors("tiny-sd1.safetensors");
    let name = "first_stage_model.decoder.conv_out.weight";
    other.insert(name.into(), (&other[name] * 2.0).unwrap());
    let other_path = dir.path().join("other.safetensors");
    safetensors::save(&other, &other_path).unwrap();
    let other = load(&other_path);
    let latent = &tensors("vae.safetensors")["latent"];
    let decode = |n: &Networks| bits(&n.vae.decode(latent).unwrap());
    let want = bits(&model().vae().decode(latent).unwrap());
    assert_ne!(decode(&other.variant(&VariantKey::default()).unwrap()), want);
    for file in vae_files(dir.path()) {
        let vae = Some(Arc::new(SeparateVae::load(&file, None).unwrap()));
        let networks = other.variant(&VariantKey { vae, ..Default::default() }).unwrap();
        assert_eq!(decode(&networks), want, "{}", file.display());
    }
}

#[test]
fn autoencoders_that_cannot_be_used_are_refused_by_name() {
    let refuse = |path: &std::path::Path| SeparateVae::load(path, None).unwrap_err();
    assert_eq!(refuse(&path("adapters/lora.safetensors")).reason(), "NotAVae");
    assert_eq!(refuse(std::path::Path::new("/nonexistent")).reason(), "FileUnreadable");
    let dir = tempfile::tempdir().unwrap();
    let mut tensors: Tensors =
        candle_core::safetensors::load(&vae_files(dir.path())[1], &candle_core::Device::Cpu).unwrap();
    tensors.remove("decoder.norm_out.bias");
    let cut = dir.path().join("cut.safetensors");
    safetensors::save(&tensors, &cut).unwrap();
    assert_eq!(refuse(&cut).reason(), "MissingTensor");
    tensors.insert(
        "decoder.norm_out.bias".into(),
        Tensor::full(f32::NAN, 32, &candle_core::Device::Cpu).unwrap(),
    );
    safetensors::save(&tensors, &cut).unwrap();
    assert_eq!(refuse(&cut).reason(), "NotFiniteWeights");
}
