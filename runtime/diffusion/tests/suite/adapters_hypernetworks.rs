//! Hypernetworks of the web UI (`golden/adapters/hypernetworks.py`).

use std::sync::Arc;

use candle_core::{DType, Device, Tensor, safetensors};
use easel_diffusion::adapters::{Hypernetwork, HypernetworkError};
use easel_diffusion::pipeline::{HypernetworkUse, VariantKey};
use proptest::prelude::*;

use crate::adapters::{SPREAD, unet_output};
use crate::golden::{Tensors, assert_close, bits, model, path, tensors};
use crate::parity;

/// Two and a half times the reference's difference between f32 and f64. Measured on AVX-512: 6.8e-6.
const UNET: f32 = 2.5 * 5.16e-6;

fn key(network: Arc<Hypernetwork>, strength: f32) -> VariantKey {
    VariantKey { hypernetworks: vec![HypernetworkUse { network, strength }], ..Default::default() }
}

fn golden(name: &str) -> Arc<Hypernetwork> {
    Arc::new(Hypernetwork::load(&path(&format!("adapters/{name}.safetensors")), None).unwrap())
}

#[test]
fn the_unet_reads_its_context_through_a_hypernetwork() {
    let plain = bits(&unet_output(&VariantKey::default()));
    let cases = [
        ("hyper", "Hardswish, norms, dropout, self-attention too", &[16, 32][..]),
        ("hyper-activated", "activated output", &[16]),
        ("hyper-old", "first layout", &[16]),
    ];
    for (name, feature, widths) in cases {
        let network = golden(name);
        assert_eq!(network.widths().collect::<Vec<_>>(), widths);
        let got = unet_output(&key(network, 0.6));
        assert_ne!(bits(&got), plain, "{name}");
        let want = &tensors("adapters/merged.safetensors")[&format!("{name}/unet")];
        let worst = assert_close(name, &got, want, UNET);
        parity::record("Adapters", &format!("hypernetwork, {feature}"), worst, f64::from(UNET), SPREAD);
    }
    assert_eq!(bits(&unet_output(&VariantKey::default())), plain);
    assert_eq!(bits(&unet_output(&key(golden("hyper"), 0.0))), plain, "a strength of zero changes nothing");
}

#[test]
fn several_hypernetworks_follow_one_another() {
    let both = |first: &str, second: &str| {
        let uses = [first, second].map(|name| HypernetworkUse { network: golden(name), strength: 0.6 });
        bits(&unet_output(&VariantKey { hypernetworks: uses.to_vec(), ..Default::default() }))
    };
    assert_ne!(both("hyper-activated", "hyper-old"), both("hyper-old", "hyper-activated"));
}

/// A file of the golden one's tensors with changes.
fn changed(
    name: &str,
    metadata: &[(&str, &str)],
    change: impl Fn(&mut Tensors),
) -> Result<Hypernetwork, HypernetworkError> {
    let mut all = tensors(&format!("adapters/{name}.safetensors"));
    change(&mut all);
    let file = tempfile::NamedTempFile::new().unwrap();
    safetensors::save(&all, file.path()).unwrap();
    // candle writes no metadata: it is put into the header here.
    let bytes = std::fs::read(file.path()).unwrap();
    let end = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let mut json: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&bytes[8..end]).unwrap();
    let texts: serde_json::Map<_, _> = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
    json.insert("__metadata__".into(), texts.into());
    let header = serde_json::to_vec(&json).unwrap();
    let whole = [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[end..]].concat();
    std::fs::write(file.path(), whole).unwrap();
    Hypernetwork::load(file.path(), None)
}

#[test]
fn hypernetworks_that_cannot_be_used_are_refused_by_name() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let leaky = [("activation_func", "leakyrelu"), ("activate_output", "true")];
    assert!(changed("hyper-activated", &leaky, |_| ()).is_ok());
    let cases = [
        (
            "unknown activation",
            changed("hyper-activated", &[("activation_func", "prelu")], |_| ()),
            "UnsupportedHypernetwork",
        ),
        ("activation not told", changed("hyper-activated", &[], |_| ()), "DamagedHypernetwork"),
        (
            "no values",
            changed("hyper-old", &[], |t| t.retain(|n, _| n.starts_with("16.0"))),
            "DamagedHypernetwork",
        ),
        (
            "no layers",
            changed("hyper-old", &[], |t| t.retain(|n, _| !n.contains("weight"))),
            "DamagedHypernetwork",
        ),
        (
            "no bias",
            changed("hyper-old", &[], |t| t.retain(|n, _| n != "16.1.linear2.bias")),
            "MissingTensor",
        ),
        (
            "does not come back to its width",
            changed("hyper-old", &[], |t| t.retain(|n, _| !n.contains("linear2"))),
            "DamagedHypernetwork",
        ),
        (
            "layers that do not follow",
            changed("hyper-old", &[], |t| drop(t.insert("16.0.linear2.weight".into(), zeros(&[16, 31])))),
            "DamagedHypernetwork",
        ),
        (
            "NaN",
            changed("hyper-old", &[], |t| {
                drop(t.insert("16.0.linear2.bias".into(), (zeros(&[16]) + f64::NAN).unwrap()))
            }),
            "NotFiniteWeights",
        ),
        (
            "seventeen widths",
            changed("hyper-old", &[], |t| {
                let weight = t["16.0.linear1.weight"].clone();
                t.extend((100..117).map(|n| (format!("{n}.0.linear.0.weight"), weight.clone())));
            }),
            "DamagedHypernetwork",
        ),
        ("a LoRA", changed("lora", &[], |_| ()), "NotAHypernetwork"),
    ];
    for (name, result, reason) in cases {
        let error = result.map(|_| ()).expect_err(name);
        assert_eq!(error.reason(), reason, "{name}: {error}");
        assert!(!error.retriable(), "{name}");
    }
}

#[test]
fn a_hypernetwork_for_another_model_names_both_widths() {
    let renamed = changed("hyper-old", &[], |t| {
        let all = std::mem::take(t);
        // 24 is no width of the tiny model.
        for (name, tensor) in all {
            let shape: Vec<usize> = tensor.dims().iter().map(|d| d * 24 / 16).collect();
            t.insert(name.replacen("16.", "24.", 1), Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap());
        }
    });
    let error = model().variant(&key(Arc::new(renamed.unwrap()), 1.0)).map(|_| ()).unwrap_err();
    assert_eq!(error.reason(), "HypernetworkOfOtherModel");
    assert!(error.to_string().contains("contexts of [24], this model's text has 16"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn changed_bytes_never_panic(
        file in prop_oneof![Just("hyper"), Just("hyper-activated"), Just("hyper-old")],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = std::fs::read(path(&format!("adapters/{file}.safetensors"))).unwrap();
        for (index, value) in changes {
            // Mostly in the header, where names and shapes are.
            let at = index.index(bytes.len().min(1500));
            bytes[at] = value;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        if let Ok(network) = Hypernetwork::load(file.path(), None) {
            let widths: Vec<usize> = network.widths().collect();
            let patch = Arc::new(network).patch(0.5);
            for width in widths.into_iter().filter(|w| *w < 1000) {
                let context = Tensor::zeros((1, 3, width), DType::F32, &Device::Cpu).unwrap();
                prop_assert!(patch.apply(&context, &context).unwrap().is_some());
            }
        }
    }
}
