//! What a task becomes.

use easel_protocol::training::{CheckpointPolicy, ClassConcept, SamplePolicy, TrainOutput};

use super::*;

fn hyperparameters() -> TrainHyperparameters {
    TrainHyperparameters {
        length: TrainLength::Steps(12),
        batch_size: 2,
        gradient_accumulation_steps: 3,
        gradient_checkpointing: true,
        resolution: 64,
        learning_rate: 1e-4,
        text_encoder_learning_rate: None,
        text_encoder_percent: 50,
        schedule: LearningRateSchedule::Cosine,
        warmup_steps: 2,
        optimizer: Optimizer::AdamW8Bit,
        weight_decay: 0.25,
        max_gradient_norm: 0.5,
        precision: None,
        seed: 7,
        clip_skip: 2,
        exponential_moving_average: true,
        prior_loss_weight: 0.75,
        noise_offset: 0.05,
        min_snr_gamma: Some(5.0),
        caption_dropout_percent: 10,
        shuffle_captions: true,
        keep_tokens: 1,
        aspect_ratio_buckets: false,
        random_crop: true,
        horizontal_flip: true,
    }
}

fn lora() -> TrainMethod {
    TrainMethod::Lora {
        rank: 8,
        alpha: 4.0,
        text_encoder_rank: 2,
        conv: Some((3, 6.0)),
        attention_only: true,
        dropout: 0.1,
    }
}

fn task(method: TrainMethod) -> TrainTask {
    let class = ClassConcept {
        prompt: "a dog".into(),
        negative_prompt: "blurred".into(),
        dataset: Some("dogs".into()),
        pictures_per_picture: 5,
    };
    TrainTask {
        job: "j".into(),
        method,
        base_model: "demo".into(),
        base: Vec::new(),
        concepts: vec![
            TrainConcept {
                dataset: "rex".into(),
                instance_prompt: "sks dog".into(),
                repeats: 4,
                class: Some(class),
            },
            TrainConcept { dataset: "dogs".into(), instance_prompt: "zwx".into(), repeats: 1, class: None },
        ],
        hyperparameters: hyperparameters(),
        checkpoints: CheckpointPolicy { every_steps: 3, keep: 9 },
        samples: Some(SamplePolicy { every_steps: 6, prompts: vec!["x".into()], seed: 3, steps: 5 }),
        output: TrainOutput { file_name: "style.safetensors".into(), precision: TrainPrecision::Bf16 },
        resume: None,
    }
}

fn local(name: &str, pictures: usize) -> (String, LocalDataset) {
    let folder = PathBuf::from(format!("/w/{name}"));
    let items = (0..pictures).map(|i| (folder.join(format!("{i}.png")), format!("{i}"))).collect();
    (name.to_owned(), LocalDataset { folder, items, digest: format!("digest of {name}") })
}

fn planned(task: &TrainTask) -> Result<TrainPlan, TrainerError> {
    let datasets = BTreeMap::from([local("rex", 6), local("dogs", 20)]);
    plan(task, &Places { base: Path::new("/b"), datasets: &datasets, work: Path::new("/w") })
}

#[test]
fn every_field_has_its_place() {
    let plan = planned(&task(lora())).unwrap();
    let run = &plan.run;
    assert_eq!((run.steps, run.accumulation, run.warmup, plan.epochs), (12, 3, 2, None));
    assert_eq!((run.clip_norm, run.text_encoder_share), (Some(0.5), 0.5));
    assert_eq!(run.algorithm, algorithm("adamw-8bit", Some(0.25)).unwrap());
    assert_eq!((run.decay, run.ema), (Decay::Cosine { cycles: 0.5 }, Some(EmaOptions::default())));
    assert_eq!((run.checkpoints.as_ref().unwrap().every, run.sample_every), (3, Some(6)));
    assert_eq!(plan.batches, BatchOptions { seed: 7, offset_noise: 0.05, prior_weight: 0.75 });
    assert_eq!(plan.objective, Objective { min_snr_gamma: Some(5.0), clip_skip: 2 });
    let want = DatasetOptions {
        resolution: 64,
        buckets: BucketOptions { enabled: false, ..BucketOptions::default() },
        crop: Crop::Random,
        flip: true,
        captions: CaptionOptions { shuffle: true, keep_tokens: 1, dropout: 0.1 },
        batch_size: 2,
    };
    assert_eq!(plan.dataset, want);
    let samples = plan.samples.unwrap();
    assert_eq!((samples.width, samples.steps, samples.seed), (64, 5, 3));
    assert!(matches!(plan.precision, SavePrecision::Bf16));
    assert_eq!(plan.checkpointing, GradientCheckpointing::Blocks);
    let said = |key: &str| plan.metadata[key].as_str();
    assert_eq!((said("easel.trigger_words"), said("ss_sd_model_name")), ("sks dog,zwx", "demo"));
    assert_eq!((said("ss_output_name"), said("easel.method")), ("style", "Lora"));
    assert!(
        said("easel.datasets").contains("digest of rex")
            && said("ss_dataset_dirs").contains("\"n_repeats\":4")
    );
}

#[test]
fn text_encoders_are_trained_if_they_have_a_rate() {
    let with_rate = |method, rate| {
        let mut task = task(method);
        task.hyperparameters.text_encoder_learning_rate = rate;
        planned(&task).unwrap()
    };
    let text_of = |plan: &TrainPlan| match &plan.method {
        Method::Lora(options) => options.text_encoder.map(|shape| shape.rank),
        Method::Full(options) => options.text_encoder.then_some(0),
        _ => None,
    };
    for (method, rate, want, rates) in [
        (lora(), None, None, 0.0),
        (lora(), Some(0.5), Some(2), 0.5),
        (TrainMethod::DreamBooth, None, None, 0.0),
        (TrainMethod::FullFineTune, Some(0.5), Some(0), 0.5),
    ] {
        let plan = with_rate(method, rate);
        assert_eq!(text_of(&plan), want, "{:?}", plan.method);
        assert_eq!(plan.run.rates, Rates { unet: 1e-4, text_encoder: rates, embedding: 1e-4 });
    }
    let Method::Lora(options) = with_rate(lora(), Some(0.5)).method else { panic!("no LoRA") };
    assert_eq!(options.text_encoder, Some(LoraShape { rank: 2, alpha: 1.0 }), "half strength, as beside it");
    assert_eq!(options.shape, LoraShape { rank: 8, alpha: 4.0 });
    assert_eq!(options.conv, Some(LoraShape { rank: 3, alpha: 6.0 }));
}

#[test]
fn other_methods_and_lengths() {
    let mut inversion = task(TrainMethod::TextualInversion {
        token: "zorb".into(),
        vectors: 2,
        initializer_text: "a ball".into(),
    });
    inversion.hyperparameters.length = TrainLength::Epochs(4);
    let plan = planned(&inversion).unwrap();
    assert_eq!(plan.epochs, Some(4));
    assert_eq!(plan.metadata["easel.trigger_words"], "zorb");
    let Method::TextualInversion(options) = plan.method else { panic!("no inversion") };
    assert_eq!((options.name.as_str(), options.vectors, options.initial.as_str()), ("zorb", 2, "a ball"));
    let network =
        TrainMethod::Hypernetwork { hidden_multiplier: 1.5, activation: "swish".into(), layer_norm: true };
    let Method::Hypernetwork(options) = planned(&task(network)).unwrap().method else { panic!("no network") };
    assert_eq!((options.layers, options.activation.as_str()), (vec![1.0, 1.5, 1.0], "swish"));
    for schedule in [
        LearningRateSchedule::Constant,
        LearningRateSchedule::Linear,
        LearningRateSchedule::CosineWithRestarts,
        LearningRateSchedule::Polynomial,
    ] {
        for optimizer in [Optimizer::AdamW, Optimizer::AdamW8Bit, Optimizer::Adafactor, Optimizer::Sgd] {
            let mut task = task(lora());
            (task.hyperparameters.schedule, task.hyperparameters.optimizer) = (schedule, optimizer);
            let run = planned(&task).unwrap().run;
            assert_eq!(run.decay.name(), schedule_name(schedule));
            assert_eq!(run.algorithm.name(), optimizer_name(optimizer));
        }
    }
}

#[test]
fn a_class_has_as_many_pictures_as_its_subject_asks_for() {
    let plan = planned(&task(lora())).unwrap();
    let [class] = plan.classes.as_slice() else { panic!("{:?}", plan.classes) };
    assert_eq!((class.count, class.given.as_deref()), (30, Some(Path::new("/w/dogs"))));
    assert_eq!((class.prompt.as_str(), class.negative_prompt.as_str()), ("a dog", "blurred"));
    let with = |change: fn(&mut ClassConcept)| {
        let mut task = task(lora());
        change(task.concepts[0].class.as_mut().unwrap());
        planned(&task)
    };
    let none = with(|class| (class.pictures_per_picture, class.dataset) = (0, None)).unwrap();
    assert!(none.classes.is_empty());
    let given = with(|class| class.pictures_per_picture = 0).unwrap();
    assert_eq!(given.classes[0].count, 0);
    let error = with(|class| class.pictures_per_picture = u32::MAX).unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("InvalidOption", false));
    assert!(error.to_string().contains("classPicturesPerPicture"), "{error}");
    assert_eq!(datasets(&task(lora())), ["rex", "dogs"]);
}
