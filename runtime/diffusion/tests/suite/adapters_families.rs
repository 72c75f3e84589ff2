//! Adapters beyond SD 1.x: names of every family, SDXL's two encoders, and the web UI's `.pt` files.

use std::fs;
use std::sync::{Arc, OnceLock};

use candle_core::{DType, Device, Tensor, safetensors};
use easel_diffusion::adapters::{Adapter, AdapterError, Hypernetwork, ModelNames};
use easel_diffusion::pipeline::{AdapterUse, HypernetworkUse, VariantKey};
use easel_diffusion::random::TorchRng;
use easel_diffusion::{LoadOptions, Pipeline};
use serde_json::Value;

use crate::adapters::{adapter, unet_output};
use crate::families_model::{file, model};
use crate::golden::{Tensors, bits, path};

fn components() -> &'static Value {
    static ALL: OnceLock<Value> = OnceLock::new();
    ALL.get_or_init(|| {
        serde_json::from_str(&fs::read_to_string(path("families/components.json")).unwrap()).unwrap()
    })
}

/// An adapter that changes one bias or norm of each of these modules by nothing: only names matter.
fn naming(stems: &[(String, usize)]) -> Arc<Adapter> {
    let all: Tensors = stems
        .iter()
        .map(|(stem, size)| {
            (format!("{stem}.diff_b"), Tensor::zeros(*size, DType::F32, &Device::Cpu).unwrap())
        })
        .collect();
    load(&all)
}

fn load(tensors: &Tensors) -> Arc<Adapter> {
    let file = tempfile::NamedTempFile::new().unwrap();
    safetensors::save(tensors, file.path()).unwrap();
    Arc::new(Adapter::load(file.path(), None).unwrap())
}

#[test]
fn every_name_of_ldm_and_of_diffusers_finds_its_module_in_every_family() {
    for family in ["sd1-inpainting", "sd1-lcm", "sd2", "sdxl", "sdxl-refiner"] {
        let unet = &components()[family];
        let shapes: Vec<(String, Vec<usize>)> = unet["tensors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                let shape = row[1].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
                (format!("unet.{}", row[0].as_str().unwrap()), shape)
            })
            .collect();
        let names = ModelNames::learn(shapes.iter().map(|(n, s)| (n.as_str(), s.as_slice())));
        let mut ldm = Vec::new();
        let mut diffusers = Vec::new();
        for (name, source) in unet["ldm"].as_object().unwrap() {
            // Distilled models have one more layer, which `ldm` never had.
            let Some(name) =
                name.strip_prefix("model.diffusion_model.").and_then(|n| n.strip_suffix(".bias"))
            else {
                continue;
            };
            let own = source.as_str().unwrap().strip_suffix(".bias").unwrap();
            let size = shapes.iter().find(|(n, _)| *n == format!("unet.{own}.bias")).unwrap().1[0];
            ldm.push((format!("lora_unet_{}", name.replace('.', "_")), size));
            diffusers.push((format!("lora_unet_{}", own.replace('.', "_")), size));
        }
        assert!(ldm.len() > 100, "{family}");
        for stems in [&ldm, &diffusers] {
            let fitted = naming(stems).fit(&names).unwrap();
            assert_eq!(fitted.unknown(), &[] as &[String], "{family}");
            assert_eq!(fitted.modules(), stems.len(), "{family}");
        }
    }
}

fn sdxl() -> &'static Pipeline {
    static MODEL: OnceLock<Pipeline> = OnceLock::new();
    MODEL.get_or_init(|| {
        let file = file(&model("sdxl").single_file(), DType::F32);
        Pipeline::load(file.path(), &LoadOptions::default()).unwrap()
    })
}

/// A LoRA of rank 2 for these modules, given as name, outputs, inputs.
fn lora(modules: &[(&str, usize, usize)], ends: [&str; 2]) -> Tensors {
    let mut all = Tensors::new();
    for (seed, (name, out, input)) in modules.iter().enumerate() {
        for (end, shape) in ends.iter().zip([[2, *input], [*out, 2]]) {
            let values = TorchRng::new(seed as u64).randn(shape[0] * shape[1]);
            all.insert(format!("{name}{end}"), Tensor::from_vec(values, &shape, &Device::Cpu).unwrap());
        }
    }
    all
}

#[test]
fn kohyas_sdxl_names_and_those_of_diffusers_give_the_same_networks() {
    let text = |at: &str| {
        let shape = components()[at]["tensors"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row[0].as_str().unwrap().ends_with("encoder.layers.0.mlp.fc1.weight"));
        let shape = &shape.unwrap()[1];
        (shape[0].as_u64().unwrap() as usize, shape[1].as_u64().unwrap() as usize)
    };
    let ((out1, in1), (out2, in2)) = (text("text-clip"), text("text-big"));
    let unet = sdxl().unet().config().clone();
    let (channels, context) = (unet.channels[1], unet.context);
    let first = 1 + unet.layers + 1;
    let ldm = format!("lora_unet_input_blocks_{first}_1_transformer_blocks_0_attn2_to_k");
    let kohya = lora(
        &[
            (ldm.as_str(), channels, context),
            ("lora_te1_text_model_encoder_layers_0_mlp_fc1", out1, in1),
            ("lora_te2_text_model_encoder_layers_0_mlp_fc1", out2, in2),
        ],
        [".lora_down.weight", ".lora_up.weight"],
    );
    let diffusers = lora(
        &[
            ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", channels, context),
            ("text_encoder.text_model.encoder.layers.0.mlp.fc1", out1, in1),
            ("text_encoder_2.text_model.encoder.layers.0.mlp.fc1", out2, in2),
        ],
        [".lora_A.weight", ".lora_B.weight"],
    );
    let mut answers = Vec::new();
    for tensors in [kohya, diffusers] {
        let fitted = sdxl().fit(&load(&tensors)).unwrap();
        assert_eq!((fitted.modules(), fitted.unknown().len()), (3, 0));
        assert_eq!(fitted.changed_bytes() as usize, 4 * (channels * context + out1 * in1 + out2 * in2));
        let patch = fitted.patch(0.7, 0.3);
        let changed = |name: &str, rows: usize, columns: usize| {
            let base = Tensor::zeros((rows, columns), DType::F32, &Device::Cpu).unwrap();
            bits(&patch.apply(name, &base).unwrap().unwrap())
        };
        answers.push([
            changed(
                "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight",
                channels,
                context,
            ),
            changed("text.encoder.layers.0.mlp.fc1.weight", out1, in1),
            changed("text2.encoder.layers.0.mlp.fc1.weight", out2, in2),
        ]);
        let used = AdapterUse { adapter: load(&tensors), unet_weight: 0.7, text_weight: 0.3 };
        sdxl().variant(&VariantKey { adapters: vec![used], ..Default::default() }).unwrap();
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn adapters_of_one_family_are_refused_by_another() {
    let error = |result: Result<_, AdapterError>| result.map(|_| ()).unwrap_err();
    let small = error(sdxl().fit(&adapter("lora")));
    assert_eq!(small.reason(), "AdapterOfOtherModel", "{small}");
    let big = lora(
        &[("lora_te2_text_model_encoder_layers_0_mlp_fc1", 8, 8)],
        [".lora_down.weight", ".lora_up.weight"],
    );
    let big = error(crate::golden::model().fit(&load(&big)));
    assert!(big.to_string().ends_with("use it with an SDXL checkpoint"), "{big}");
}

#[test]
fn the_web_uis_own_hypernetwork_files_are_read() {
    for name in ["hyper", "hyper-activated", "hyper-old"] {
        let output = |end: &str| {
            let file = path(&format!("adapters/{name}.{end}"));
            let network = Arc::new(Hypernetwork::load(&file, None).unwrap());
            let uses = vec![HypernetworkUse { network, strength: 0.6 }];
            bits(&unet_output(&VariantKey { hypernetworks: uses, ..Default::default() }))
        };
        assert_eq!(output("pt"), output("safetensors"), "{name}");
    }
}
