//! The arguments as a plan.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use easel_diffusion::Sampler;
use easel_diffusion::train::data::{BucketOptions, CaptionOptions, Concept, Crop, DatasetOptions, Role};
use easel_diffusion::train::optim::EmaOptions;
use easel_diffusion::train::run::{BatchOptions, CheckpointOptions, Rates, RunOptions};
use easel_diffusion::train::{
    FullOptions, GradientCheckpointing, HypernetworkOptions, LoraOptions, LoraShape, LoraTargets, Method,
    Objective, SavePrecision, TextualInversionOptions,
};
use easel_protocol::FailureReport;

use super::args::{
    ClassArgs, DataArgs, MethodArg, NetworkArgs, PrecisionArg, SampleArgs, StepArgs, TrainArgs,
};
use crate::train::{ClassPictures, SamplePlan, TrainPlan, algorithm};

/// A value that is of no use.
fn refused(reason: &'static str, option: &str, error: impl Display) -> FailureReport {
    FailureReport::new(reason, format!("{option}: {error}"), false)
}

/// The plan, checked as far as it can be without files.
pub(super) fn plan(args: &TrainArgs) -> Result<TrainPlan, FailureReport> {
    check_out(&args.out)?;
    let class = args.class.class_prompt.clone().zip(args.class.class_data.clone());
    if args.method == MethodArg::Dreambooth && class.is_none() {
        let remedy =
            "say what the subject is one of with --class-prompt and --class-data, or use --method full";
        return Err(refused("ClassMissing", "--method dreambooth", remedy));
    }
    Ok(TrainPlan {
        base: args.base.clone(),
        method: method(args.method, &args.network)?,
        objective: Objective { min_snr_gamma: args.steps.min_snr_gamma, clip_skip: args.network.clip_skip },
        checkpointing: match args.steps.no_gradient_checkpointing {
            true => GradientCheckpointing::Off,
            false => GradientCheckpointing::Blocks,
        },
        concepts: args.data.data.iter().map(|folder| concept(folder, &args.data)).collect(),
        classes: class
            .map(|(prompt, folder)| class_pictures(&args.class, prompt, folder))
            .into_iter()
            .collect(),
        dataset: dataset(&args.data),
        batches: BatchOptions {
            seed: args.seed,
            offset_noise: args.steps.offset_noise,
            prior_weight: args.class.prior_weight,
        },
        run: run(args)?,
        epochs: args.steps.epochs,
        latents: args.data.latents.clone(),
        samples: samples(&args.samples, &args.out, args.data.resolution)?,
        out: args.out.clone(),
        precision: match (args.precision, args.method) {
            (Some(PrecisionArg::F32), _) | (None, MethodArg::TextualInversion) => SavePrecision::F32,
            (Some(PrecisionArg::F16) | None, _) => SavePrecision::F16,
            (Some(PrecisionArg::Bf16), _) => SavePrecision::Bf16,
        },
        metadata: BTreeMap::new(),
    })
}

fn class_pictures(args: &ClassArgs, prompt: String, folder: PathBuf) -> ClassPictures {
    ClassPictures {
        prompt,
        negative_prompt: args.class_negative_prompt.clone(),
        given: None,
        folder,
        count: args.class_count,
        steps: args.class_steps,
        guidance_scale: args.class_cfg,
    }
}

/// Found before the hours of work, not after.
fn check_out(out: &Path) -> Result<(), FailureReport> {
    if out.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("safetensors")) {
        let message = format!("{} has to end in .safetensors", out.display());
        return Err(refused("UnknownFormat", "--out", message));
    }
    match out.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        Some(parent) => {
            Err(refused("OutputFailed", "--out", format!("{} is no directory", parent.display())))
        }
        None => Ok(()),
    }
}

fn concept(folder: &Path, args: &DataArgs) -> Concept {
    let (repeats, caption) = (args.repeats, args.caption.clone());
    Concept { repeats, caption, ..Concept::new(folder, Role::Subject) }
}

fn dataset(args: &DataArgs) -> DatasetOptions {
    DatasetOptions {
        resolution: args.resolution,
        buckets: BucketOptions { enabled: !args.no_buckets, ..BucketOptions::default() },
        crop: if args.random_crop { Crop::Random } else { Crop::Centre },
        flip: args.flip,
        captions: CaptionOptions {
            shuffle: args.shuffle_captions,
            keep_tokens: args.keep_tokens,
            dropout: args.caption_dropout,
        },
        batch_size: args.batch_size,
    }
}

fn method(method: MethodArg, args: &NetworkArgs) -> Result<Method, FailureReport> {
    let shape = |rank: usize, alpha: Option<f64>| LoraShape { rank, alpha: alpha.unwrap_or(rank as f64) };
    Ok(match method {
        MethodArg::Lora => Method::Lora(LoraOptions {
            shape: shape(args.rank, args.alpha),
            targets: if args.attention_only { LoraTargets::Attention } else { LoraTargets::Transformers },
            dropout: args.dropout,
            conv: args.conv_rank.map(|rank| shape(rank, args.conv_alpha)),
            text_encoder: args.train_text_encoder.then(|| shape(args.rank, args.alpha)),
        }),
        MethodArg::Dreambooth | MethodArg::Full => {
            Method::Full(FullOptions { unet: true, text_encoder: args.train_text_encoder })
        }
        MethodArg::TextualInversion => {
            let Some(name) = args.token.clone() else {
                let remedy = "say with --token which word the captions call it by";
                return Err(refused("TokenMissing", "--method textual-inversion", remedy));
            };
            let (vectors, initial) = (args.vectors, args.initial_words.clone());
            Method::TextualInversion(TextualInversionOptions { name, vectors, initial })
        }
        MethodArg::Hypernetwork => Method::Hypernetwork(HypernetworkOptions {
            layers: args.layers.clone(),
            activation: args.activation.clone(),
            layer_norm: args.layer_norm,
            ..HypernetworkOptions::default()
        }),
    })
}

/// What each method is usually trained with.
fn usual_rate(method: MethodArg) -> f64 {
    match method {
        MethodArg::Lora => 1e-4,
        MethodArg::Dreambooth | MethodArg::Full => 5e-6,
        MethodArg::TextualInversion => 5e-3,
        MethodArg::Hypernetwork => 5e-5,
    }
}

fn run(args: &TrainArgs) -> Result<RunOptions, FailureReport> {
    let StepArgs { steps, warmup, accumulate, clip_norm, .. } = args.steps;
    let rate = args.steps.learning_rate.unwrap_or_else(|| usual_rate(args.method));
    let text_encoder = args.steps.text_encoder_learning_rate.unwrap_or(rate);
    let algorithm = algorithm(&args.steps.optimizer, args.steps.weight_decay)
        .map_err(|error| refused("UnknownOptimizer", "--optimizer", error))?;
    let options = RunOptions {
        steps,
        accumulation: accumulate,
        clip_norm: (clip_norm != 0.0).then_some(clip_norm),
        algorithm,
        rates: Rates { text_encoder, ..Rates::all(rate) },
        decay: args
            .steps
            .lr_schedule
            .parse()
            .map_err(|error| refused("UnknownSchedule", "--lr-schedule", error))?,
        warmup,
        ema: args.steps.ema.map(|decay| EmaOptions { decay, ..EmaOptions::default() }),
        text_encoder_share: args.steps.text_encoder_percent / 100.0,
        checkpoints: args.checkpoints.resume.clone().map(|folder| CheckpointOptions {
            folder,
            every: args.checkpoints.checkpoint_every,
            keep: args.checkpoints.checkpoint_keep,
        }),
        sample_every: (!args.samples.sample_prompt.is_empty()).then_some(args.samples.sample_every),
        ..RunOptions::default()
    };
    // The warm-up is held against the rounds' steps once the pictures are counted.
    let counted =
        RunOptions { warmup: if args.steps.epochs.is_some() { 0 } else { warmup }, ..options.clone() };
    counted.check().map_err(|error| FailureReport::new(error.reason(), error.to_string(), false))?;
    Ok(options)
}

fn samples(args: &SampleArgs, out: &Path, resolution: u32) -> Result<Option<SamplePlan>, FailureReport> {
    if args.sample_prompt.is_empty() {
        return Ok(None);
    }
    let (sampler, _) = Sampler::parse(&args.sample_sampler)
        .map_err(|error| refused("UnknownSampler", "--sample-sampler", error))?;
    Ok(Some(SamplePlan {
        prompts: args.sample_prompt.clone(),
        folder: args.sample_folder.clone().unwrap_or_else(|| beside(out)),
        width: resolution,
        height: resolution,
        steps: args.sample_steps,
        guidance_scale: args.sample_cfg,
        sampler,
        seed: args.sample_seed,
    }))
}

/// `a/x.safetensors` has its pictures in `a/x-samples`.
fn beside(out: &Path) -> PathBuf {
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{stem}-samples"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn said(more: &[&str]) -> Result<TrainPlan, FailureReport> {
        let line = ["easel-runtime", "train", "--base", "b", "--data", "d", "--out", "x.safetensors"];
        let cli = Cli::try_parse_from(line.iter().chain(more)).unwrap();
        let Command::Train(args) = cli.command else { panic!("another command: {:?}", cli.command) };
        plan(&args)
    }

    #[test]
    fn methods_have_their_usual_rates_and_shapes() {
        for (method, rate) in [
            (&[][..], 1e-4),
            (&["--method", "full"], 5e-6),
            (&["--method", "textual-inversion", "--token", "sks"], 5e-3),
            (&["--method", "hypernetwork", "--learning-rate", "0.1"], 0.1),
        ] {
            assert_eq!(said(method).unwrap().run.rates, Rates::all(rate), "{method:?}");
        }
        let Method::Lora(lora) = said(&["--rank", "8", "--conv-rank", "4", "--alpha", "2"]).unwrap().method
        else {
            panic!("no LoRA")
        };
        assert_eq!(lora.shape, LoraShape { rank: 8, alpha: 2.0 });
        assert_eq!((lora.conv, lora.text_encoder), (Some(LoraShape { rank: 4, alpha: 4.0 }), None));
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let cases: [(&[&str], &str); 7] = [
            (&["--method", "dreambooth"], "ClassMissing"),
            (&["--method", "textual-inversion"], "TokenMissing"),
            (&["--optimizer", "lion"], "UnknownOptimizer"),
            (&["--lr-schedule", "sine"], "UnknownSchedule"),
            (&["--steps", "0"], "InvalidOption"),
            (&["--text-encoder-percent", "101"], "InvalidOption"),
            (&["--sample-prompt", "a", "--sample-sampler", "x"], "UnknownSampler"),
        ];
        for (more, want) in cases {
            assert_eq!(said(more).unwrap_err().reason, want, "{more:?}");
        }
    }

    #[test]
    fn samples_and_checkpoints_have_their_places() {
        let plan = said(&["--sample-prompt", "a", "--resume", "c", "--clip-norm", "0"]).unwrap();
        assert_eq!(plan.samples.unwrap().folder, Path::new("x-samples"));
        assert_eq!(plan.run.sample_every, Some(100));
        assert_eq!(plan.run.checkpoints.unwrap().folder, Path::new("c"));
        assert_eq!(plan.run.clip_norm, None);
        let plan = said(&["--epochs", "3", "--warmup", "2000"]).unwrap();
        assert_eq!(plan.epochs, Some(3));
        assert_eq!(plan.checkpointing, GradientCheckpointing::Blocks);
        let plan = said(&["--no-gradient-checkpointing"]).unwrap();
        assert_eq!(plan.checkpointing, GradientCheckpointing::Off);
        assert_eq!(check_out(Path::new("x.ckpt")).unwrap_err().reason, "UnknownFormat");
        assert_eq!(check_out(Path::new("/no/such/x.safetensors")).unwrap_err().reason, "OutputFailed");
    }
}
