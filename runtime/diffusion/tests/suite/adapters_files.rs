//! Adapter files that are damaged, hostile or for another model.

use std::fs;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, safetensors};
use easel_diffusion::adapters::{Adapter, AdapterError, ModelNames};
use proptest::prelude::*;

use crate::adapters::names;
use crate::golden::{Tensors, path, tensors};

const Q: &str = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
const K: &str = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k";

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

fn load(tensors: &Tensors) -> Result<Arc<Adapter>, AdapterError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    safetensors::save(tensors, file.path()).unwrap();
    Adapter::load(file.path(), None).map(Arc::new)
}

/// What is wrong with a file of these tensors, at loading or for the tiny model.
fn refusal(tensors: &Tensors) -> AdapterError {
    load(tensors).and_then(|a| a.fit(&names())).map(|_| ()).expect_err("this adapter must be refused")
}

fn lora(stem: &str, down: &[usize], up: &[usize]) -> Tensors {
    [(format!("{stem}.lora_down.weight"), zeros(down)), (format!("{stem}.lora_up.weight"), zeros(up))].into()
}

#[test]
fn an_adapter_for_another_model_is_named_with_both_shapes_and_the_remedy() {
    let cases = [
        ("SD 2.x", 1024, "use it with an SD 2.x checkpoint"),
        ("SDXL", 2048, "use it with an SDXL checkpoint"),
        ("SD 1.x", 768, "use it with an SD 1.x checkpoint"),
        ("another", 20, "use it with the model it was trained on"),
    ];
    for (name, width, remedy) in cases {
        let mut all = lora(K, &[4, width], &[64, 4]);
        all.extend(lora(Q, &[4, 999], &[32, 4]));
        let error = refusal(&all);
        assert_eq!(error.reason(), "AdapterOfOtherModel", "{name}");
        let want = format!(
            "`{K}.lora_down.weight` ([4, {width}]) makes {width} inputs, this model's \
             `unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight` ([64, 16]) has 16: "
        );
        let text = error.to_string();
        assert!(text.starts_with(&want) && text.ends_with(remedy), "{name}: {text}");
    }
    let second = refusal(&lora("lora_te2_text_model_encoder_layers_0_mlp_fc1", &[4, 1280], &[5120, 4]));
    assert!(second.to_string().contains("second text encoder"), "{second}");
    let nothing = refusal(&lora("lora_unet_double_blocks_0_img_attn_qkv", &[4, 64], &[64, 4]));
    assert!(nothing.to_string().starts_with("none of the 1 modules"), "{nothing}");
}

#[test]
fn damaged_files_are_refused_by_name() {
    let key = |part: &str| format!("{Q}.{part}");
    let good = || lora(Q, &[4, 32], &[32, 4]);
    let set = |part: &str, tensor: Tensor| {
        let mut all = good();
        all.insert(key(part), tensor);
        all
    };
    let nan = |shape: &[usize]| Tensor::full(f32::NAN, shape, &Device::Cpu).unwrap();
    let only = |parts: &[(&str, &[usize])]| -> Tensors {
        parts.iter().map(|(part, shape)| (key(part), zeros(shape))).collect()
    };
    let half: Tensors = lora(Q, &[4, 32], &[32, 4]).into_iter().filter(|(n, _)| n.contains("up")).collect();
    let cases: Vec<(&str, Tensors, &str)> = vec![
        ("NaN in a factor", set("lora_up.weight", nan(&[32, 4])), "NotFiniteWeights"),
        ("NaN as alpha", set("alpha", nan(&[])), "NotFiniteWeights"),
        ("alpha of two numbers", set("alpha", zeros(&[2])), "WrongShape"),
        ("endless alpha", set("alpha", Tensor::full(1e300_f64, (), &Device::Cpu).unwrap()), "DamagedAdapter"),
        ("no down", half, "MissingTensor"),
        ("ranks differ", set("lora_up.weight", zeros(&[32, 5])), "DamagedAdapter"),
        ("a vector as a factor", set("lora_up.weight", zeros(&[32])), "DamagedAdapter"),
        ("rank 0", lora(Q, &[0, 32], &[32, 0]), "DamagedAdapter"),
        ("rank 5000", lora(Q, &[5000, 32], &[32, 5000]), "AdapterTooLarge"),
        ("core of another rank", set("lora_mid.weight", zeros(&[3, 4, 3, 3])), "DamagedAdapter"),
        ("core of another kernel", set("lora_mid.weight", zeros(&[4, 4, 3, 3])), "AdapterOfOtherModel"),
        ("norms of another length", set("dora_scale", zeros(&[31, 1])), "AdapterOfOtherModel"),
        ("norms of nothing", set("dora_scale", zeros(&[0])), "DamagedAdapter"),
        ("half a LoHa", only(&[("hada_w1_a", &[32, 4]), ("hada_w1_b", &[4, 32])]), "MissingTensor"),
        ("LoKr of another size", only(&[("lokr_w1", &[3, 4]), ("lokr_w2", &[8, 8])]), "AdapterOfOtherModel"),
        ("full of another size", only(&[("diff", &[32, 31])]), "AdapterOfOtherModel"),
        ("full, turned", only(&[("diff", &[16, 64])]), "AdapterOfOtherModel"),
        ("IA3 without its vector", only(&[("on_input", &[])]), "MissingTensor"),
        ("OFT", only(&[("oft_blocks", &[4, 8, 8])]), "UnsupportedAdapter"),
        ("GLoRA", only(&[("a1.weight", &[4, 8]), ("b1.weight", &[4, 8])]), "UnsupportedAdapter"),
        ("no adapter", [("something".to_owned(), zeros(&[4]))].into(), "NotAnAdapter"),
    ];
    for (name, tensors, reason) in cases {
        let error = refusal(&tensors);
        assert_eq!(error.reason(), reason, "{name}: {error}");
        assert!(!error.retriable(), "{name}");
    }
    let model = Adapter::load(&path("tiny-sd1.safetensors"), None).unwrap_err();
    assert!(model.to_string().contains("of kind Checkpoint, not an adapter"), "{model}");
    let missing = Adapter::load(&path("adapters/nothing.safetensors"), None).unwrap_err();
    assert_eq!((missing.reason(), missing.retriable()), ("FileUnreadable", true));
}

#[test]
fn what_means_nothing_is_told_and_passed_over() {
    let mut all = lora(Q, &[4, 32], &[32, 4]);
    all.extend(lora("lora_unet_down_blocks_9_nothing", &[4, 32], &[32, 4]));
    for key in ["stray", "lora_te_text_model_x.weight", &format!("{Q}.diff_b"), &format!("{Q}.hada_t1")] {
        all.insert(key.to_owned(), zeros(&[32]));
    }
    let fitted = load(&all).unwrap().fit(&names()).unwrap();
    let mut unknown = fitted.unknown().to_vec();
    unknown.sort();
    let want = [
        "lora_te_text_model_x.weight".to_owned(),
        // This projection has no bias that could be changed.
        format!("{Q}.bias"),
        format!("{Q}.hada_t1"),
        "lora_unet_down_blocks_9_nothing".to_owned(),
        "stray".to_owned(),
    ];
    let mut want = want.to_vec();
    want.sort();
    assert_eq!(unknown, want);
    assert_eq!((fitted.modules(), fitted.changed_bytes()), (1, 32 * 32 * 4));
}

#[test]
fn four_channels_change_the_first_four_of_an_inpainting_models_nine() {
    let model = ModelNames::learn([("unet.conv_in.weight", &[2, 9, 1, 1][..])].into_iter());
    let up = Tensor::from_vec(vec![1_f32, 2.0], (2, 1), &Device::Cpu).unwrap();
    let down = Tensor::from_vec(vec![1_f32, 2.0, 3.0, 4.0], (1, 4, 1, 1), &Device::Cpu).unwrap();
    let all: Tensors = [
        ("lora_unet_conv_in.lora_up.weight".to_owned(), up),
        ("lora_unet_conv_in.lora_down.weight".to_owned(), down),
    ]
    .into();
    let patch = load(&all).unwrap().fit(&model).unwrap().patch(0.5, 0.0);
    let new = patch.apply("unet.conv_in.weight", &zeros(&[2, 9, 1, 1])).unwrap().unwrap();
    let want = [[0.5, 1.0, 1.5, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0]];
    assert_eq!(new.reshape((2, 9)).unwrap().to_vec2::<f32>().unwrap(), want);
}

#[test]
fn a_result_that_is_not_finite_is_refused() {
    let big = Tensor::full(1e30_f32, (32, 4), &Device::Cpu).unwrap();
    let all: Tensors = [
        (format!("{Q}.lora_up.weight"), big.clone()),
        (format!("{Q}.lora_down.weight"), big.t().unwrap().contiguous().unwrap()),
    ]
    .into();
    let patch = load(&all).unwrap().fit(&names()).unwrap().patch(1.0, 1.0);
    let name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight";
    assert_eq!(patch.apply(name, &zeros(&[32, 32])).unwrap_err().reason(), "NotFiniteWeights");
}

/// Every adapter of the golden folder.
fn files() -> Vec<Vec<u8>> {
    ["lora", "locon-cp", "loha-cp", "lokr", "lokr-cp", "dora-columns", "ia3", "full", "layout-diffusers"]
        .map(|name| fs::read(path(&format!("adapters/{name}.safetensors"))).unwrap())
        .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_bytes_never_panic(
        file in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = file.get(&files()).clone();
        for (index, value) in changes {
            // Mostly in the header, where names and shapes are.
            let at = index.index(bytes.len().min(1500));
            bytes[at] = value;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        if let Ok(fitted) = Adapter::load(file.path(), None).and_then(|a| Arc::new(a).fit(&names())) {
            let patch = fitted.patch(0.7, 0.7);
            for (name, shape) in crate::adapters::weights().shapes() {
                let _ = patch.apply(name, &zeros(shape));
            }
        }
    }

    #[test]
    fn factors_of_any_shape_never_panic(
        shapes in proptest::collection::vec(proptest::collection::vec(0_usize..6, 0..5), 8),
        parts in proptest::collection::vec(0_usize..PARTS.len(), 1..8),
        stem in prop_oneof![Just(Q), Just(K), Just("lora_unet_conv_in"), Just("lora_unet_conv_norm_out")],
    ) {
        let all: Tensors = parts.iter().zip(&shapes)
            .map(|(part, shape)| (format!("{stem}.{}", PARTS[*part]), zeros(shape)))
            .collect();
        let names = ModelNames::learn([
            ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight", &[4, 2][..]),
            ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight", &[2, 3]),
            ("unet.conv_in.weight", &[4, 5, 1, 1]),
            ("unet.conv_norm_out.weight", &[3]),
        ].into_iter());
        if let Ok(fitted) = load(&all).and_then(|a| a.fit(&names)) {
            let patch = fitted.patch(1.0, 1.0);
            for (name, shape) in [("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight", &[4, 2][..]),
                ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight", &[2, 3]),
                ("unet.conv_in.weight", &[4, 5, 1, 1]), ("unet.conv_norm_out.weight", &[3])] {
                prop_assert!(patch.apply(name, &zeros(shape)).is_ok());
            }
        }
    }
}

const PARTS: &[&str] = &[
    "lora_up.weight",
    "lora_down.weight",
    "lora_mid.weight",
    "alpha",
    "scale",
    "dora_scale",
    "lora_magnitude_vector",
    "hada_w1_a",
    "hada_w1_b",
    "hada_w2_a",
    "hada_w2_b",
    "hada_t1",
    "hada_t2",
    "lokr_w1",
    "lokr_w1_a",
    "lokr_w1_b",
    "lokr_w2",
    "lokr_w2_a",
    "lokr_w2_b",
    "lokr_t2",
    "diff",
    "diff_b",
    "w_norm",
    "b_norm",
    "weight",
    "on_input",
    "ia3_l",
];

#[test]
fn golden_files_are_adapters_of_their_kind() {
    let lora = tensors("adapters/lora.safetensors");
    assert_eq!(load(&lora).unwrap().modules(), 4);
}
