//! Every family in every layout and precision, against diffusers.

use candle_core::{DType, Device, Tensor};
use easel_diffusion::config::ModelVariant;
use easel_diffusion::random::TorchRng;
use easel_diffusion::text::EncodeOptions;
use easel_diffusion::unet::{ControlResiduals, UnetInput, added_embedding, guidance_embedding};
use easel_diffusion::{Family, LoadOptions, Pipeline, PredictionType, inspect};

use crate::families_model::{component, file, model, save, spread};
use crate::golden::{Tensors, assert_close, bits, path, tensors};
use crate::parity;

const ORIGIN: &str = "3 × the reference's own difference between f32 and f64";
/// Both sides round, in different orders, so the difference of two roundings and a margin for chance.
const FACTOR: f32 = 3.0;
const EPSILON: &str = r#"{"beta_start":0.00085,"beta_end":0.012,"beta_schedule":"scaled_linear","num_train_timesteps":1000,"prediction_type":"epsilon"}"#;

fn load(path: &std::path::Path) -> Pipeline {
    Pipeline::load(path, &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// The UNet's answer to the golden's question.
fn predict(pipeline: &Pipeline, golden: &Tensors, name: &str, control: Option<&ControlResiduals>) -> Tensor {
    let get = |what: &str| golden.get(&format!("{name}.{what}"));
    let added = get("pooled").map(|pooled| added_embedding(pooled, get("time_ids").unwrap()).unwrap());
    let guidance = get("scales").map(|scales| {
        let scales = scales.to_vec1::<f32>().unwrap();
        guidance_embedding(&scales, pipeline.unet().config().guidance.unwrap()).unwrap()
    });
    let input = UnetInput {
        added: added.as_ref(),
        guidance: guidance.as_ref(),
        control,
        ..UnetInput::new(get("x").unwrap(), get("t").unwrap(), get("context").unwrap())
    };
    pipeline.unet().forward(&input).unwrap()
}

fn check(name: &'static str, family: Family, variant: ModelVariant) {
    let golden = tensors("families/families.safetensors");
    let want = &golden[&format!("{name}.out")];
    let tolerance = FACTOR * spread(name);
    let mut answers = Vec::new();
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let single = file(&model(name).single_file(), dtype);
        let seen = inspect(single.path()).unwrap();
        assert_eq!(seen.family, family, "{name} {dtype:?}");
        let pipeline = load(single.path());
        assert_eq!((pipeline.family(), pipeline.model_variant()), (family, variant), "{name} {dtype:?}");
        answers.push(predict(&pipeline, &golden, name, None));
    }
    let folder = model(name).folder(EPSILON);
    assert_eq!(inspect(folder.path()).unwrap().family, family, "{name}");
    let from_folder = load(folder.path());
    answers.push(predict(&from_folder, &golden, name, None));
    let worst = assert_close(name, &answers[0], want, tolerance);
    for answer in &answers[1..] {
        assert_eq!(bits(answer), bits(&answers[0]), "{name}: every layout and precision is the same model");
    }
    parity::record("Families", &format!("{name}: UNet"), worst, f64::from(tolerance), ORIGIN);
}

#[test]
fn sd2_is_that_of_diffusers() {
    check("sd2", Family::Sd2, ModelVariant::TextToImage);
}

#[test]
fn sdxl_is_that_of_diffusers() {
    check("sdxl", Family::Sdxl, ModelVariant::TextToImage);
}

#[test]
fn the_refiner_is_that_of_diffusers() {
    check("sdxl-refiner", Family::SdxlRefiner, ModelVariant::TextToImage);
}

#[test]
fn an_inpainting_model_is_that_of_diffusers() {
    check("sd1-inpainting", Family::Sd1, ModelVariant::Inpainting);
    let single = file(&model("sd1-inpainting").single_file(), DType::F16);
    assert_eq!(
        load(single.path()).describe_variant(),
        "`model.diffusion_model.input_blocks.0.0.weight` is [32, 9, 3, 3]: an inpainting model"
    );
}

#[test]
fn instruct_pix2pix_is_that_of_diffusers() {
    check("sd1-pix2pix", Family::Sd1, ModelVariant::InstructPix2Pix);
}

#[test]
fn lcm_reads_its_guidance_scale() {
    check("sd1-lcm", Family::Sd1, ModelVariant::TextToImage);
    let golden = tensors("families/families.safetensors");
    let scales = golden["sd1-lcm.scales"].to_vec1::<f32>().unwrap();
    // Angles up to 6500, whose f32 neighbours are 5e-4 apart; the frequencies agree to a unit or two.
    let got = guidance_embedding(&scales, 32).unwrap();
    assert_close("guidance embedding", &got, &golden["sd1-lcm.guidance"], 1e-3);
    let pipeline = load(file(&model("sd1-lcm").single_file(), DType::F16).path());
    let get = |what: &str| &golden[&format!("sd1-lcm.{what}")];
    let without = pipeline.unet().forward(&UnetInput::new(get("x"), get("t"), get("context"))).unwrap();
    assert_ne!(bits(&without), bits(&predict(&pipeline, &golden, "sd1-lcm", None)));
}

#[test]
fn what_a_control_net_adds_goes_to_skips_and_middle() {
    let golden = tensors("families/families.safetensors");
    let pipeline = load(file(&model("sd1-inpainting").single_file(), DType::F16).path());
    // Each level keeps one layer and, but for the last, a downsampler; 8 x 9 becomes 4 x 5, 2 x 3, 1 x 2.
    let sizes =
        [(32, 8, 9), (32, 8, 9), (32, 4, 5), (64, 4, 5), (64, 2, 3), (64, 2, 3), (64, 1, 2), (64, 1, 2)];
    let draw = |(i, (c, h, w)): (usize, (usize, usize, usize))| {
        let values = TorchRng::new(900 + i as u64).randn(2 * c * h * w);
        Tensor::from_vec(values, (2, c, h, w), &Device::Cpu).unwrap()
    };
    let down: Vec<Tensor> = sizes.into_iter().enumerate().map(draw).collect();
    let control = ControlResiduals { down, mid: draw((8, (64, 1, 2))) };
    let got = predict(&pipeline, &golden, "sd1-inpainting", Some(&control));
    let tolerance = FACTOR * spread("control");
    let worst = assert_close("control", &got, &golden["sd1-inpainting.controlled"], tolerance);
    parity::record("Families", "UNet with control residuals", worst, f64::from(tolerance), ORIGIN);
    let few = ControlResiduals { down: control.down[..3].to_vec(), ..control };
    let get = |what: &str| &golden[&format!("sd1-inpainting.{what}")];
    let input = UnetInput { control: Some(&few), ..UnetInput::new(get("x"), get("t"), get("context")) };
    assert!(pipeline.unet().forward(&input).unwrap_err().to_string().contains("3 residuals"));
}

#[test]
fn sdxl_without_its_conditions_is_an_error() {
    let golden = tensors("families/families.safetensors");
    let pipeline = load(file(&model("sdxl").single_file(), DType::F16).path());
    let get = |what: &str| &golden[&format!("sdxl.{what}")];
    let error = pipeline.unet().forward(&UnetInput::new(get("x"), get("t"), get("context"))).unwrap_err();
    assert!(error.to_string().contains("micro-conditions"), "{error}");
}

#[test]
fn a_sample_of_sdxl_does_not_feel_its_company() {
    let golden = tensors("families/families.safetensors");
    let pipeline = load(file(&model("sdxl").single_file(), DType::F16).path());
    let both = predict(&pipeline, &golden, "sdxl", None);
    for i in 0..2 {
        let alone: Tensors = golden
            .iter()
            .filter(|(name, _)| name.starts_with("sdxl."))
            .map(|(name, t)| (name.clone(), t.narrow(0, i, 1).unwrap()))
            .collect();
        let one = predict(&pipeline, &alone, "sdxl", None);
        assert_eq!(bits(&one), bits(&both.narrow(0, i, 1).unwrap().contiguous().unwrap()), "sample {i}");
    }
}

#[test]
fn sd2_without_a_mark_is_asked_what_it_predicts() {
    let mut all = model("sd2").single_file();
    let kind = |all: &Tensors| load(file(all, DType::F16).path()).prediction_type();
    assert_eq!(inspect(file(&all, DType::F16).path()).unwrap().prediction_type, None);
    assert_eq!(kind(&all), PredictionType::Epsilon);
    let bias = "model.diffusion_model.out.2.bias";
    all.insert(bias.into(), (&all[bias] - 2.0).unwrap());
    assert_eq!(kind(&all), PredictionType::VPrediction);
    // The web UI's numbers for the same two models lie on the two sides of its bound.
    let probes = tensors("families/families.safetensors")["sd2.probe"].to_vec1::<f32>().unwrap();
    assert!(probes[0] > -1.0 && probes[1] < -1.0, "{probes:?}");
}

#[test]
fn marks_of_v_prediction_and_zero_terminal_snr_are_honoured() {
    let mut all = model("sdxl").single_file();
    let plain = load(file(&all, DType::F16).path());
    assert_eq!(plain.prediction_type(), PredictionType::Epsilon);
    assert!(plain.noise_table().sigma_max() < 15.0);
    all.insert("v_pred".into(), Tensor::zeros(0, DType::F32, &Device::Cpu).unwrap());
    all.insert("ztsnr".into(), Tensor::zeros(0, DType::F32, &Device::Cpu).unwrap());
    let marked = load(file(&all, DType::F16).path());
    assert_eq!(marked.prediction_type(), PredictionType::VPrediction);
    assert!(marked.training().zero_terminal_snr);
    assert!(marked.noise_table().sigma_max() > 4000.0);
}

#[test]
fn a_schedulers_configuration_says_how_the_model_was_trained() {
    let cases: &[(&str, &str, PredictionType, std::ops::Range<f32>)] = &[
        ("v", r#"{"prediction_type":"v_prediction"}"#, PredictionType::VPrediction, 14.6..14.7),
        ("older than the key", r#"{"beta_schedule":"scaled_linear"}"#, PredictionType::Epsilon, 14.6..14.7),
        (
            "zero terminal SNR",
            r#"{"prediction_type":"v_prediction","rescale_betas_zero_snr":true,"timestep_spacing":"trailing"}"#,
            PredictionType::VPrediction,
            4000.0..5000.0,
        ),
        ("linear betas", r#"{"beta_schedule":"linear"}"#, PredictionType::Epsilon, 24.0..26.0),
        ("cosine", r#"{"beta_schedule":"squaredcos_cap_v2"}"#, PredictionType::Epsilon, 1000.0..1e5),
        ("numbers", r#"{"trained_betas":[0.1,0.2,0.3]}"#, PredictionType::Epsilon, 0.9..1.0),
    ];
    for (name, scheduler, prediction, sigma_max) in cases {
        let pipeline = load(model("sd2").folder(scheduler).path());
        assert_eq!(pipeline.prediction_type(), *prediction, "{name}");
        let seen = pipeline.noise_table().sigma_max();
        assert!(sigma_max.contains(&seen), "{name}: {seen}");
    }
    for (scheduler, words) in [
        (r#"{"prediction_type":"sample"}"#, "`prediction_type` = \"sample\""),
        (r#"{"beta_schedule":"sigmoid"}"#, "`beta_schedule` = \"sigmoid\""),
        (r#"{"trained_betas":[0.1,7]}"#, "`trained_betas`"),
        (r#"{"num_train_timesteps":99999999}"#, "`num_train_timesteps` = 99999999"),
    ] {
        let folder = model("sd2").folder(scheduler);
        let error = Pipeline::load(folder.path(), &LoadOptions::default()).unwrap_err();
        assert_eq!(error.reason(), "UnsupportedModel");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn the_autoencoder_has_the_scale_of_its_family() {
    let golden = tensors("families/families.safetensors");
    let sdxl = load(file(&model("sdxl").single_file(), DType::F16).path());
    let tolerance = FACTOR * spread("vae.decode");
    let decoded = sdxl.vae().decode(&golden["latent"]).unwrap();
    let worst = assert_close("decode", &decoded, &golden["vae.decoded"], tolerance);
    parity::record("Families", "sdxl: VAE decode", worst, f64::from(tolerance), ORIGIN);
    let moments = sdxl.vae().moments(&golden["picture"]).unwrap();
    let tolerance = FACTOR * spread("vae.encode");
    let worst = assert_close("encode", &moments, &golden["vae.moments"], tolerance);
    parity::record("Families", "sdxl: VAE encode", worst, f64::from(tolerance), ORIGIN);
    let sd2 = load(file(&model("sd2").single_file(), DType::F16).path());
    assert_eq!((sdxl.vae().config().scaling_factor, sd2.vae().config().scaling_factor), (0.13025, 0.18215));
}

#[test]
fn a_separate_autoencoder_replaces_the_models_own() {
    let golden = tensors("families/families.safetensors");
    let vae = component("vae");
    let bare = |all: Tensors| -> Tensors {
        all.into_iter().map(|(n, t)| (n.trim_start_matches("first_stage_model.").to_owned(), t)).collect()
    };
    let single = path("tiny-sd1.safetensors");
    let mut answers = Vec::new();
    for tensors in [vae.tensors(), vae.single_file(""), bare(vae.single_file(""))] {
        let file = file(&tensors, DType::F32);
        let options = LoadOptions { vae: Some(file.path().to_owned()), ..LoadOptions::default() };
        let pipeline = Pipeline::load(&single, &options).unwrap();
        answers.push(pipeline.vae().decode(&golden["latent"]).unwrap());
    }
    // The family decides the scale, so the golden's latent is that of SDXL.
    let own = load(&single).vae().decode(&golden["latent"]).unwrap();
    assert_ne!(bits(&answers[0]), bits(&own));
    for answer in &answers[1..] {
        assert_eq!(bits(answer), bits(&answers[0]));
    }
    let options = LoadOptions { vae: Some(path("families/embedding.pt")), ..LoadOptions::default() };
    let error = Pipeline::load(&single, &options).unwrap_err();
    assert!(error.to_string().contains("of kind TextualInversion, not an autoencoder"), "{error}");
}

#[test]
fn the_tiny_autoencoder_is_that_of_diffusers_from_every_file_of_it() {
    let golden = tensors("families/families.safetensors");
    let taesd = component("taesd");
    let both = file(&taesd.single_file(""), DType::F32);
    let diffusers = file(&taesd.tensors(), DType::F16);
    let single = path("tiny-sd1.safetensors");
    let files = [
        vec![both.path().to_owned()],
        vec![diffusers.path().to_owned()],
        vec![path("families/taesd_decoder.pth")],
        vec![path("families/taesd_decoder_legacy.pth")],
    ];
    for (n, taesd) in files.into_iter().enumerate() {
        let pipeline = Pipeline::load(&single, &LoadOptions { taesd, ..LoadOptions::default() }).unwrap();
        let networks = pipeline.build(Default::default()).unwrap();
        let preview = networks.preview.as_ref().unwrap();
        let decode = FACTOR * spread("taesd.decode");
        let worst = assert_close(
            "decode",
            &preview.decode(&golden["latent"]).unwrap(),
            &golden["taesd.decoded"],
            decode,
        );
        parity::record("Families", "TAESD decode", worst, f64::from(decode), ORIGIN);
        if n < 2 {
            let encode = FACTOR * spread("taesd.encode");
            let latent = preview.encode(&golden["picture"]).unwrap();
            let worst = assert_close("encode", &latent, &golden["taesd.latent"], encode);
            parity::record("Families", "TAESD encode", worst, f64::from(encode), ORIGIN);
        } else {
            assert!(preview.encode(&golden["picture"]).unwrap_err().to_string().contains("no encoder"));
        }
    }
    assert!(load(&single).build(Default::default()).unwrap().preview.is_none());
}

#[test]
fn text_is_read_alike_from_both_layouts() {
    for name in ["sdxl", "sdxl-refiner", "sd2"] {
        let single = load(file(&model(name).single_file(), DType::F16).path());
        let folder = model(name).folder(EPSILON);
        if name == "sd2" {
            // diffusers leaves out the last layer of this family, which is never used.
            let mut text = component("text-open").tensors();
            text.retain(|name, _| !name.starts_with("encoder.layers.1."));
            save(&text, &folder.path().join("text_encoder/model.safetensors"), DType::F16);
        }
        let folder = load(folder.path());
        let read = |pipeline: &Pipeline| {
            pipeline.text_encoder().encode("a (red:1.2) circle", &EncodeOptions::default()).unwrap()
        };
        let (a, b) = (read(&single), read(&folder));
        assert_eq!(bits(&a.context), bits(&b.context), "{name}");
        assert_eq!(a.pooled.as_ref().map(bits), b.pooled.as_ref().map(bits), "{name}");
        assert_eq!(a.pooled.is_some(), name != "sd2", "{name}");
        // What the text encoders give is what the UNet reads.
        let config = single.unet().config();
        assert_eq!(a.context.dim(2).unwrap(), config.context, "{name}");
    }
}

#[test]
fn encoders_of_another_family_are_refused() {
    let mut all = model("sdxl").single_file();
    let projection = "conditioner.embedders.1.model.text_projection";
    all.insert(projection.into(), Tensor::zeros((64, 32), DType::F32, &Device::Cpu).unwrap());
    let refused = |all: &Tensors| {
        let file = file(all, DType::F16);
        Pipeline::load(file.path(), &LoadOptions::default()).unwrap_err().to_string()
    };
    let error = refused(&all);
    assert!(error.contains("reads 1600 added conditions, with an encoder that gives 1568"), "{error}");
    let mut all = model("sd1-lcm").single_file();
    all.retain(|name, _| !name.starts_with("cond_stage_model."));
    all.extend(component("text-open").single_file("cond_stage_model.transformer."));
    let error = refused(&all);
    assert!(error.contains("the file is incomplete or of another family"), "{error}");
}
