//! One step of each way to train, against diffusers, transformers and PEFT (`golden/train/make.py`), and
//! against differences of the loss.

use candle_core::Tensor;
use easel_diffusion::train::{Batch, Captions, Group, LoraOptions, LoraTargets, Method, Objective, Trainee};

use crate::golden::{path, tensors};
use crate::parity;
use crate::train_model::{
    base, batch, batch_of_word, dot, drawn, fill, full, hypernetwork, inversion, lora, shape, step, trainee,
    values,
};

/// What the project asks for; the reference is in f64.
const LOSS: f64 = 1e-5;
const GRADIENT: f64 = 1e-4;
const ORIGIN: &str = "relative to the loss; 1e-5 was asked for";
const SPREAD: &str = "in units of what is allowed: 1e-4 of each gradient's norm and 8 × the reference's own difference between f32 and f64";

/// Of the reference's own difference between f32 and f64: the largest of thousands of products with random
/// numbers is near four deviations, and both sides round.
const SPREADS: f64 = 8.0;
/// Of the largest gradient's norm: what f32 leaves where mathematics leave nothing (a bias before a
/// normalisation).
const FLOOR: f64 = 1.2e-7;

/// Compares norms and products with random vectors; the worst difference is in units of what is allowed.
fn check(case: &str, trainee: &Trainee, batch: &Batch) {
    let golden = tensors("train/train.safetensors");
    let (loss, gradients) = step(trainee, batch);
    let want = golden[&format!("{case}.loss")].to_vec1::<f64>().unwrap()[0];
    let off_loss = (f64::from(loss) - want).abs() / want;
    let rows = golden[&format!("{case}.gradients")].to_vec2::<f64>().unwrap();
    assert_eq!(rows.len(), gradients.len(), "{case}");
    let largest = rows.iter().map(|row| row[0]).fold(0.0, f64::max);
    let mut worst = (0.0, String::new());
    for (i, (name, gradient)) in gradients.iter().enumerate() {
        let got = values(gradient);
        let allowed = GRADIENT * rows[i][0] + SPREADS * rows[i][4] + FLOOR * largest;
        let mut see = |off: f64| {
            if off.is_nan() || off / allowed > worst.0 {
                worst = (if off.is_nan() { f64::INFINITY } else { off / allowed }, name.clone());
            }
        };
        see((dot(&got, &got).sqrt() - rows[i][0]).abs());
        for k in 0..3 {
            let by = values(&drawn(9000 + 3 * i as u64 + k, &[got.len()]));
            see((dot(&got, &by) - rows[i][1 + k as usize]).abs());
        }
    }
    println!("{case}: loss off by {off_loss:e}, gradients by {} of what is allowed (`{}`)", worst.0, worst.1);
    assert!(off_loss <= LOSS, "{case}: the loss is {loss}, not {want}");
    assert!(worst.0 <= 1.0, "{case}: `{}` is off by {} of what is allowed", worst.1, worst.0);
    parity::record("Training", &format!("{case}: loss"), off_loss, LOSS, ORIGIN);
    parity::record("Training", &format!("{case}: gradients"), worst.0, 1.0, SPREAD);
}

#[test]
fn a_step_of_lora_is_that_of_peft() {
    let trainee = trainee("sd1", &lora(), None);
    fill(&trainee, 0.1);
    check("sd1-lora", &trainee, &batch(16, 18));
}

#[test]
fn a_step_of_lora_on_sdxl_is_that_of_peft() {
    let options =
        LoraOptions { shape: shape(2, 1.0), text_encoder: Some(shape(2, 2.0)), ..Default::default() };
    let trainee = trainee("sdxl", &Method::Lora(options), None);
    fill(&trainee, 0.1);
    check("sdxl-lora", &trainee, &batch(16, 16));
}

#[test]
fn a_step_of_textual_inversion_is_that_of_transformers() {
    let trainee = trainee("sd1", &inversion(), None);
    fill(&trainee, 0.1);
    check("sd1-inversion", &trainee, &batch_of_word(16, 16));
}

#[test]
fn a_step_of_a_hypernetwork_is_that_of_torch() {
    let trainee = trainee("sd1", &hypernetwork(), None);
    fill(&trainee, 0.3);
    check("sd1-hypernetwork", &trainee, &batch(16, 16));
}

#[test]
fn a_step_of_the_whole_model_is_that_of_diffusers() {
    check("sd1-full", &trainee("sd1", &full(true), Some(5.0)), &batch(16, 18));
}

#[test]
fn a_step_of_a_model_that_predicts_v_is_that_of_diffusers() {
    check("sd2-full", &trainee("sd2", &full(false), Some(3.0)), &batch(16, 16));
}

/// Every way to train on every family; names of the failing ones come out.
fn methods() -> Vec<(&'static str, Method)> {
    let attention = LoraOptions {
        targets: LoraTargets::Attention,
        dropout: 0.2,
        text_encoder: Some(shape(2, 2.0)),
        ..Default::default()
    };
    vec![
        ("lora", lora()),
        ("lora of attention", Method::Lora(attention)),
        ("inversion", inversion()),
        ("hypernetwork", hypernetwork()),
        ("full", full(true)),
    ]
}

fn every_variable_has_a_gradient(family: &str) {
    for (name, method) in methods() {
        let trainee = trainee(family, &method, None);
        if !matches!(method, Method::Full(_)) {
            // Before the first step the second factor of an adapter is zero, and so is the first's gradient.
            fill(&trainee, 0.1);
        }
        // Two latents each way at the lowest level: one alone is all mean and no deviation.
        let (loss, gradients) = step(&trainee, &batch_of_word(16, 16));
        assert!(loss.is_finite() && loss > 0.0, "{family} {name}");
        for (variable, gradient) in &gradients {
            let own = values(gradient);
            assert!(own.iter().all(|v| v.is_finite()), "{family} {name}: {variable} is not finite");
            assert!(own.iter().any(|v| *v != 0.0), "{family} {name}: {variable} has a gradient of zeros");
        }
    }
}

#[test]
fn every_variable_of_sd1_has_a_gradient() {
    every_variable_has_a_gradient("sd1");
}

#[test]
fn every_variable_of_sd2_has_a_gradient() {
    every_variable_has_a_gradient("sd2");
}

#[test]
fn every_variable_of_sdxl_has_a_gradient() {
    every_variable_has_a_gradient("sdxl");
}

/// Along a random direction of all variables at once the loss grows as the gradients say.
#[test]
fn gradients_are_what_the_loss_shows() {
    for (name, method) in methods() {
        let trainee = trainee("sd1", &method, Some(5.0));
        if !matches!(method, Method::Full(_)) {
            fill(&trainee, 0.1);
        }
        let batch = batch_of_word(8, 8);
        let (_, gradients) = step(&trainee, &batch);
        let starts: Vec<Tensor> = trainee.variables().iter().map(|v| v.var.copy().unwrap()).collect();
        // The gradient itself, with noise of its size: random alone would be nearly flat in so many dimensions.
        let directions: Vec<Tensor> = trainee
            .variables()
            .iter()
            .enumerate()
            .map(|(i, v)| {
                let gradient = &gradients[&v.name];
                let own = values(gradient);
                let size = (dot(&own, &own) / own.len() as f64).sqrt();
                ((drawn(i as u64, v.var.dims()) * size).unwrap() + gradient).unwrap()
            })
            .collect();
        let length: f64 = directions.iter().map(|d| dot(&values(d), &values(d))).sum::<f64>().sqrt();
        let at = |h: f64| -> f64 {
            for ((v, start), direction) in trainee.variables().iter().zip(&starts).zip(&directions) {
                v.var.set(&(start + (direction * (h / length)).unwrap()).unwrap()).unwrap();
            }
            f64::from(trainee.loss(&batch).unwrap().to_scalar::<f32>().unwrap())
        };
        let slope = |h: f64| (at(h) - at(-h)) / (2.0 * h);
        let got: f64 = trainee
            .variables()
            .iter()
            .zip(&directions)
            .map(|(v, d)| dot(&values(&gradients[&v.name]), &values(d)) / length)
            .sum();
        // Large steps leave the neighbourhood, small ones drown in rounding: one of them does neither.
        let seen = [0.01, 0.003, 0.001].map(|h| (4.0 * slope(h) - slope(2.0 * h)) / 3.0);
        println!("{name}: {got} and {seen:?}");
        let off = seen.iter().map(|want| (got - want).abs()).fold(f64::INFINITY, f64::min);
        assert!(off <= 5e-3 * got.abs(), "{name}: {got}, the loss shows {seen:?}");
    }
}

#[test]
fn dropout_follows_its_seed() {
    let options = LoraOptions { dropout: 0.5, text_encoder: Some(shape(2, 2.0)), ..Default::default() };
    let trainee = trainee("sd1", &Method::Lora(options), None);
    fill(&trainee, 0.1);
    let loss = |seed| trainee.loss(&Batch { dropout_seed: seed, ..batch(8, 8) }).unwrap().to_scalar::<f32>();
    assert_eq!(loss(1).unwrap(), loss(1).unwrap());
    assert_ne!(loss(1).unwrap(), loss(2).unwrap());
}

#[test]
fn encoded_captions_give_the_loss_of_their_texts() {
    let trainee = trainee("sdxl", &hypernetwork(), None);
    let texts = batch(8, 8);
    let Captions::Texts(captions) = &texts.captions else { panic!("texts") };
    let captions = Captions::Encoded(trainee.encode_prompts(captions).unwrap());
    let loss = |batch: &Batch| trainee.loss(batch).unwrap().to_scalar::<f32>().unwrap();
    assert!(!trainee.trains_text());
    assert_eq!(loss(&Batch { captions, ..texts.clone() }), loss(&texts));
}

#[test]
fn pictures_are_encoded_to_scaled_means() {
    let trainee = trainee("sd1", &hypernetwork(), None);
    let pixels = drawn(4, &[1, 3, 16, 24]);
    let (mean, moments) = (trainee.encode(&pixels).unwrap(), trainee.moments(&pixels).unwrap());
    assert_eq!((mean.dims(), moments.dims()), (&[1, 4, 2, 3][..], &[1, 8, 2, 3][..]));
    let scaled: Vec<f64> = values(&moments.narrow(1, 0, 4).unwrap()).iter().map(|v| v * 0.18215).collect();
    assert!(values(&mean).iter().zip(scaled).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn the_same_seed_makes_the_same_first_values() {
    let first = |seed| {
        let trainee = Trainee::new(&path("tiny-sd1.safetensors"), &lora(), seed).unwrap();
        let v = &trainee.variables()[0];
        (v.name.clone(), v.group, values(&v.var))
    };
    let (name, group, numbers) = first(1);
    assert_eq!(name, "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight");
    assert_eq!(group, Group::TextEncoder);
    assert_eq!(numbers, first(1).2);
    assert_ne!(numbers, first(2).2);
}

/// Files of trainers and mergers hold more than the networks read: an adapter there would never learn.
#[test]
fn layers_that_no_network_reads_get_no_adapter() {
    let mut all = tensors("tiny-sd1.safetensors");
    let unet = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q";
    let text = "cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.q_proj";
    for layer in [unet, text] {
        let weight = all[&format!("{layer}.weight")].clone();
        all.insert(format!("{layer}_extra.weight"), weight);
    }
    let file = crate::families_model::file(&all, candle_core::DType::F16);
    let names = |t: &Trainee| t.variables().iter().map(|v| v.name.clone()).collect::<Vec<_>>();
    let with_more = Trainee::new(file.path(), &lora(), 3).unwrap();
    assert_eq!(names(&with_more), names(&trainee("sd1", &lora(), None)));
    step(&with_more, &batch(8, 8));
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let refused = |method: Method, gamma: Option<f64>| {
        let objective = Objective { min_snr_gamma: gamma, ..Default::default() };
        Trainee::with_objective(base("sd1").path(), &method, objective, 1).unwrap_err().to_string()
    };
    let lora = |options: LoraOptions| Method::Lora(options);
    let cases = [
        (lora(LoraOptions { shape: shape(0, 1.0), ..Default::default() }), None, "`rank` is 0; it is from 1"),
        (lora(LoraOptions { shape: shape(4, -1.0), ..Default::default() }), None, "`alpha` is -1"),
        (lora(LoraOptions { dropout: 1.0, ..Default::default() }), None, "`dropout` is 1"),
        (lora(LoraOptions::default()), Some(0.0), "`min_snr_gamma` is 0"),
        (full_of_nothing(), None, "`networks` is neither"),
    ];
    for (method, gamma, words) in cases {
        let error = refused(method, gamma);
        assert!(error.contains(words), "{error}");
    }
}

fn full_of_nothing() -> Method {
    Method::Full(easel_diffusion::train::FullOptions { unet: false, text_encoder: false })
}

#[test]
fn batches_whose_parts_do_not_go_together_are_refused() {
    let trainee = trainee("sd1", &lora(), None);
    let encoded = trainee.encode_prompts(&["a".into(), "b".into()]).unwrap();
    let good = batch(8, 8);
    let cases = [
        (Batch { timesteps: vec![1], ..good.clone() }, "timesteps are 1, there are 2 samples"),
        (Batch { timesteps: vec![1, 1000], ..good.clone() }, "timesteps hold 1000, this model has 1000"),
        (Batch { noise: drawn(1, &[2, 4, 8, 9]), ..good.clone() }, "noise is [2, 4, 8, 9]"),
        (Batch { latents: drawn(1, &[2, 3, 8, 8]), ..good.clone() }, "latents are [2, 3, 8, 8]"),
        (Batch { weights: vec![], ..good.clone() }, "weights are 0"),
        (Batch { captions: Captions::Encoded(encoded), ..good.clone() }, "give texts"),
    ];
    for (batch, words) in cases {
        let error = trainee.loss(&batch).unwrap_err();
        assert_eq!(error.reason(), "InvalidBatch");
        assert!(error.to_string().contains(words), "{error}");
    }
}
