//! What was trained, saved, and read by the rest of the engine: it is the same as in training.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use easel_diffusion::adapters::{Adapter, Hypernetwork};
use easel_diffusion::pipeline::{AdapterUse, HypernetworkUse, Networks, VariantKey};
use easel_diffusion::text::{Embedding, EmbeddingSet, EncodeOptions};
use easel_diffusion::train::{Batch, Method, SavePrecision, Trainee};
use easel_diffusion::unet::{UnetInput, added_embedding};
use easel_diffusion::{Kind, LoadOptions, Pipeline, PredictionType, inspect};

use crate::families_model::model;
use crate::golden::{assert_close, bits, folder};
use crate::train_model::{
    WORD, base, batch_of_word, drawn, fill, full, hypernetwork, inversion, lora, shape, trainee,
};

/// A patched weight rounds otherwise than a path beside the layer: of outputs of size 1, some dozen layers.
const PATCHED: f32 = 1e-4;

/// What the UNet says of a prompt that names the trained word.
fn answer(networks: &Networks, embedding: Option<&Arc<Embedding>>) -> Tensor {
    let mut embeddings = EmbeddingSet::default();
    embedding.into_iter().for_each(|e| embeddings.insert(Arc::clone(e)).unwrap());
    let options = EncodeOptions { embeddings: &embeddings, ..Default::default() };
    let said = networks.text.encode(&format!("a {WORD} in the rain"), &options).unwrap();
    let added = networks.unet.config().added.map(|_| {
        let ids = Tensor::new(&[[64.0_f32, 64.0, 0.0, 0.0, 64.0, 64.0]], said.context.device()).unwrap();
        added_embedding(said.pooled.as_ref().unwrap(), &ids).unwrap()
    });
    let (x, t) = (drawn(1, &[1, 4, 8, 8]), Tensor::new(&[500.0_f32], said.context.device()).unwrap());
    let input = UnetInput { added: added.as_ref(), ..UnetInput::new(&x, &t, &said.context) };
    networks.unet.forward(&input).unwrap()
}

fn own_answer(trainee: &Trainee) -> Tensor {
    answer(&trainee.pipeline().variant(&VariantKey::default()).unwrap(), trainee.embedding())
}

fn load(path: &Path) -> Pipeline {
    Pipeline::load(path, &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Trains, saves, reads and compares; returns the answers of the base and of the trained model.
fn round_trip(family: &str, method: &Method, scale: f32) -> (Tensor, Tensor) {
    let base = base(family);
    let trainee = trainee(family, method, None);
    fill(&trainee, scale);
    let want = own_answer(&trainee);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trained.safetensors");
    let metadata = BTreeMap::from([("ss_output_name".to_owned(), "x".to_owned())]);
    trainee.save(&path, &metadata, SavePrecision::F32).unwrap_or_else(|e| panic!("{e}"));
    // Hypernetworks are told by the widths of real models.
    if !matches!(method, Method::Hypernetwork(_)) {
        assert_eq!(inspect(&path).unwrap().kind, kind(method), "{family}");
    }
    let plain = load(base.path());
    let before = answer(&plain.variant(&VariantKey::default()).unwrap(), None);
    let got = match method {
        Method::Lora(_) => {
            let adapter = Arc::new(Adapter::load(&path, None).unwrap());
            assert!(adapter.unknown().is_empty(), "{:?}", adapter.unknown());
            let fitted = plain.fit(&adapter).unwrap();
            assert_eq!((fitted.modules(), fitted.unknown().len()), (trainee.variables().len() / 2, 0));
            let adapters = vec![AdapterUse { adapter, unet_weight: 1.0, text_weight: 1.0 }];
            answer(&plain.variant(&VariantKey { adapters, ..Default::default() }).unwrap(), None)
        }
        Method::TextualInversion(_) => {
            let embedding = Arc::new(Embedding::load(&path, WORD).unwrap());
            answer(&plain.variant(&VariantKey::default()).unwrap(), Some(&embedding))
        }
        Method::Hypernetwork(_) => {
            let network = Arc::new(Hypernetwork::load(&path, None).unwrap());
            let hypernetworks = vec![HypernetworkUse { network, strength: 1.0 }];
            answer(&plain.variant(&VariantKey { hypernetworks, ..Default::default() }).unwrap(), None)
        }
        Method::Full(_) => answer(&load(&path).variant(&VariantKey::default()).unwrap(), None),
    };
    match method {
        Method::Lora(_) => drop(assert_close(family, &got, &want, PATCHED)),
        Method::TextualInversion(_) | Method::Full(_) => assert!(bits(&got) == bits(&want), "{family}"),
        // Products of all rows at once round otherwise than one by one.
        Method::Hypernetwork(_) => drop(assert_close(family, &got, &want, PATCHED)),
    }
    (before, want)
}

fn kind(method: &Method) -> Kind {
    match method {
        Method::Lora(_) => Kind::Lora,
        Method::TextualInversion(_) => Kind::TextualInversion,
        Method::Hypernetwork(_) => Kind::Hypernetwork,
        Method::Full(_) => Kind::Checkpoint,
    }
}

fn assert_changed(name: &str, (before, after): (Tensor, Tensor)) {
    let off = (before - after).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(off > 20.0 * PATCHED, "{name}: what was trained changes the answer by {off} only");
}

#[test]
fn adapters_are_read_as_they_were_trained() {
    for family in ["sd1", "sd2", "sdxl"] {
        assert_changed(family, round_trip(family, &lora(), 0.1));
    }
}

#[test]
fn embeddings_are_read_as_they_were_trained() {
    for family in ["sd1", "sd2", "sdxl"] {
        assert_changed(family, round_trip(family, &inversion(), 0.5));
    }
}

#[test]
fn hypernetworks_are_read_as_they_were_trained() {
    for family in ["sd1", "sdxl"] {
        assert_changed(family, round_trip(family, &hypernetwork(), 0.3));
    }
}

#[test]
fn whole_models_are_read_as_they_were_trained() {
    for family in ["sd1", "sd2", "sdxl"] {
        assert_changed(family, round_trip(family, &full(true), 0.1));
    }
}

#[test]
fn a_model_that_predicts_v_says_so_in_its_file() {
    let trainee = trainee("sd2", &full(false), None);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.safetensors");
    trainee.save(&path, &BTreeMap::new(), SavePrecision::F16).unwrap();
    assert_eq!(load(&path).prediction_type(), PredictionType::VPrediction);
}

/// Folders have other names, and those of SD 2.x leave a layer out.
#[test]
fn a_folder_becomes_a_single_file() {
    let scheduler = r#"{"prediction_type":"v_prediction"}"#;
    for dir in [folder(), model("sd2").folder(scheduler), model("sdxl").folder("{}")] {
        let trainee = Trainee::new(dir.path(), &full(false), 1).unwrap();
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("x.safetensors");
        trainee.save(&path, &BTreeMap::new(), SavePrecision::F32).unwrap();
        let single = load(&path);
        assert_eq!(single.family(), trainee.pipeline().family());
        assert_eq!(single.prediction_type(), trainee.pipeline().prediction_type());
        let got = answer(&single.variant(&VariantKey::default()).unwrap(), None);
        assert!(bits(&got) == bits(&own_answer(&trainee)), "{:?}", single.family());
        let latent = drawn(2, &[1, 4, 4, 4]);
        // The scale of latents, which the folder may say and a single file cannot, is no part of it.
        let pixels = |p: &Pipeline| p.vae().decode(&(&latent * p.vae().config().scaling_factor).unwrap());
        let (got, want) = (pixels(&single).unwrap(), pixels(trainee.pipeline()).unwrap());
        assert_close("pixels", &got, &want, 1e-5);
        let picture = drawn(3, &[1, 3, 32, 32]);
        let moments = |p: &Pipeline| bits(&p.vae().moments(&picture).unwrap());
        assert!(moments(&single) == moments(trainee.pipeline()), "{:?}", single.family());
    }
}

#[test]
fn the_pipeline_draws_with_the_present_weights() {
    for (name, method) in [("lora", lora()), ("full", full(false)), ("hypernetwork", hypernetwork())] {
        let trainee = trainee("sd1", &method, None);
        let before = bits(&own_answer(&trainee));
        let (_, gradients) = trainee.step(&batch_of_word(8, 8)).unwrap();
        for (v, gradient) in trainee.variables().iter().zip(&gradients) {
            v.var.set(&(v.var.as_tensor() - (gradient * 0.5).unwrap()).unwrap()).unwrap();
        }
        let after = own_answer(&trainee);
        assert!(bits(&after) != before, "{name}");
        assert!(!after.track_op(), "{name}: drawing keeps no graph");
    }
}

#[test]
fn a_saved_state_goes_on_where_it_was() {
    let method = lora();
    let first = trainee("sd1", &method, None);
    fill(&first, 0.1);
    let saved: BTreeMap<String, Tensor> =
        first.variables().iter().map(|v| (v.name.clone(), v.var.as_detached_tensor())).collect();
    let second = trainee("sd1", &method, None);
    second.load_variables(&saved).unwrap();
    let batch: Batch = batch_of_word(8, 8);
    let loss = |t: &Trainee| t.loss(&batch).unwrap().to_scalar::<f32>().unwrap();
    assert_eq!(loss(&first).to_bits(), loss(&second).to_bits());
    let mut other = saved.clone();
    let name = saved.keys().next().unwrap();
    other.insert(name.clone(), Tensor::zeros(3, DType::F32, saved[name].device()).unwrap());
    assert_eq!(second.load_variables(&other).unwrap_err().reason(), "StateOfOtherRun");
    other.remove(name);
    let error = second.load_variables(&other).unwrap_err().to_string();
    assert!(error.contains("is missing"), "{error}");
    assert_eq!(loss(&first).to_bits(), loss(&second).to_bits(), "a refused state changes nothing");
    let slim =
        Method::Lora(easel_diffusion::train::LoraOptions { shape: shape(1, 1.0), ..Default::default() });
    assert!(trainee("sd1", &slim, None).load_variables(&saved).is_err());
}
