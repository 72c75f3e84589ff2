//! Tasks for trainers: the demo model, and a few pictures of a colour.

use std::path::Path;

use clap::Parser;
use easel_protocol::training::{
    CheckpointPolicy, LearningRateSchedule, Optimizer, SamplePolicy, TrainConcept, TrainHyperparameters,
    TrainLength, TrainMethod, TrainOutput, TrainPrecision, TrainTask,
};
use easel_runtime::cli::{Cli, Command};
use easel_runtime::dataset_check::CheckConfig;
use easel_runtime::trainer::TrainerConfig;

use super::training::TrainingServer;

pub const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/demo-model/easel-demo.safetensors");

/// A PNG of one colour.
pub fn picture(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(width, height, image::Rgb(colour));
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Four pictures in the Dataset `reds`, two of them with captions, and one that is disabled.
pub fn reds(server: &TrainingServer) {
    for (number, caption) in [None, Some("zorb, bright"), None, Some("../zorb")].into_iter().enumerate() {
        let bytes = picture(64 + 8 * number as u32, 64, [255, 30 * number as u8, 0]);
        let name = format!("../{number} red.png");
        server.item("reds", &name, Some(&bytes), |item| {
            item.caption = caption.map(str::to_owned);
            item.sha256 = Some(super::sha256_hex(&bytes));
        });
    }
    server.item("reds", "off.png", None, |item| item.enabled = false);
}

pub fn lora() -> TrainMethod {
    TrainMethod::Lora {
        rank: 2,
        alpha: 2.0,
        text_encoder_rank: 2,
        conv: None,
        attention_only: true,
        dropout: 0.1,
    }
}

/// Twelve steps on `reds` from the demo model, with a checkpoint every three.
pub fn lesson(server: &TrainingServer, method: TrainMethod) -> TrainTask {
    let base = server.base("demo.safetensors", &std::fs::read(DEMO).unwrap());
    TrainTask {
        job: "lesson".to_owned(),
        method,
        base_model: "demo".to_owned(),
        base: vec![base],
        concepts: vec![TrainConcept {
            dataset: "reds".to_owned(),
            instance_prompt: "a zorb".to_owned(),
            repeats: 1,
            class: None,
        }],
        hyperparameters: TrainHyperparameters {
            length: TrainLength::Steps(12),
            batch_size: 1,
            gradient_accumulation_steps: 1,
            gradient_checkpointing: false,
            resolution: 64,
            learning_rate: 1e-3,
            text_encoder_learning_rate: Some(1e-4),
            text_encoder_percent: 100,
            schedule: LearningRateSchedule::Cosine,
            warmup_steps: 2,
            optimizer: Optimizer::AdamW,
            weight_decay: 0.01,
            max_gradient_norm: 1.0,
            precision: None,
            seed: 7,
            clip_skip: 1,
            exponential_moving_average: true,
            prior_loss_weight: 1.0,
            noise_offset: 0.05,
            min_snr_gamma: Some(5.0),
            caption_dropout_percent: 10,
            shuffle_captions: true,
            keep_tokens: 1,
            aspect_ratio_buckets: true,
            random_crop: false,
            horizontal_flip: true,
        },
        checkpoints: CheckpointPolicy { every_steps: 3, keep: 2 },
        samples: Some(SamplePolicy {
            every_steps: 6,
            prompts: vec!["a zorb".to_owned(), "a blue square".to_owned()],
            seed: 3,
            steps: 2,
        }),
        output: TrainOutput { file_name: "zorb.safetensors".to_owned(), precision: TrainPrecision::F32 },
        resume: None,
    }
}

fn arguments(command: &str, server: &TrainingServer, directory: &Path) -> Vec<String> {
    easel_runtime::net::install_tls();
    let token = directory.join("token");
    std::fs::write(&token, "test-token\n").unwrap();
    vec![
        "easel-runtime".to_owned(),
        command.to_owned(),
        format!("--facade-url={}", server.url()),
        format!("--token-file={}", token.display()),
        format!("--work-dir={}", directory.join("work").display()),
    ]
}

pub fn trainer_config(server: &TrainingServer, directory: &Path) -> TrainerConfig {
    std::fs::create_dir_all(directory.join("work")).unwrap();
    let arguments = arguments("run-training", server, directory);
    let Command::RunTraining(config) = Cli::try_parse_from(arguments).unwrap().command else {
        unreachable!("run-training was asked for")
    };
    *config
}

pub fn check_config(server: &TrainingServer, dataset: &str, directory: &Path) -> CheckConfig {
    let mut arguments = arguments("check-dataset", server, directory);
    arguments.push(format!("--dataset={dataset}"));
    let Command::CheckDataset(config) = Cli::try_parse_from(arguments).unwrap().command else {
        unreachable!("check-dataset was asked for")
    };
    *config
}
