//! From the facade's task to the plan of a training. Pure: what is fetched is given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use easel_diffusion::Sampler;
use easel_diffusion::train::data::{BucketOptions, CaptionOptions, Concept, Crop, DatasetOptions, Role};
use easel_diffusion::train::optim::{Decay, EmaOptions};
use easel_diffusion::train::run::{BatchOptions, CheckpointOptions, Rates, RunOptions};
use easel_diffusion::train::{
    FullOptions, GradientCheckpointing, HypernetworkOptions, LoraOptions, LoraShape, LoraTargets, Method,
    Objective, SavePrecision, TextualInversionOptions,
};
use easel_protocol::training::{
    LearningRateSchedule, Optimizer, TrainConcept, TrainHyperparameters, TrainLength, TrainMethod,
    TrainPrecision, TrainTask,
};

use super::error::TrainerError;
use super::pictures::LocalDataset;
use crate::train::{
    ClassPictures, DRAWING_GUIDANCE, DRAWING_SAMPLER, DRAWING_STEPS, SamplePlan, TrainPlan, algorithm,
};

/// Checkpoints that stay in the working directory: one that is sent is linked, so one would do; another is left for a
/// disk that damages the newest.
const LOCAL_CHECKPOINTS: usize = 2;
/// Class pictures of one concept, at most: what the engine takes from a folder.
const MAX_CLASS_PICTURES: u64 = 100_000;

/// Where things are.
pub(super) struct Places<'a> {
    pub(super) base: &'a Path,
    pub(super) datasets: &'a BTreeMap<String, LocalDataset>,
    /// The working directory.
    pub(super) work: &'a Path,
}

impl Places<'_> {
    pub(super) fn checkpoints(&self) -> PathBuf {
        self.work.join("checkpoints")
    }

    fn dataset(&self, name: &str) -> Result<&LocalDataset, TrainerError> {
        let missing = || TrainerError::EmptyDataset { dataset: name.to_owned() };
        self.datasets.get(name).ok_or_else(missing)
    }
}

/// Names of all Datasets of a task, each once.
pub(super) fn datasets(task: &TrainTask) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for concept in &task.concepts {
        let of_class = concept.class.as_ref().and_then(|class| class.dataset.as_deref());
        for name in [Some(concept.dataset.as_str()), of_class].into_iter().flatten() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The plan.
///
/// # Errors
/// [`TrainerError::Setting`] names a field of the TrainingJob's spec.
pub(super) fn plan(task: &TrainTask, places: &Places<'_>) -> Result<TrainPlan, TrainerError> {
    let settings = &task.hyperparameters;
    let (mut concepts, mut classes) = (Vec::new(), Vec::new());
    for (number, concept) in task.concepts.iter().enumerate() {
        concepts.push(subject(concept, places)?);
        classes.extend(class(number, concept, places)?);
    }
    Ok(TrainPlan {
        base: places.base.to_owned(),
        method: method(&task.method, settings.text_encoder_learning_rate.is_some()),
        objective: Objective {
            min_snr_gamma: settings.min_snr_gamma,
            clip_skip: settings.clip_skip as usize,
        },
        checkpointing: match settings.gradient_checkpointing {
            true => GradientCheckpointing::Blocks,
            false => GradientCheckpointing::Off,
        },
        concepts,
        classes,
        dataset: dataset(settings),
        batches: BatchOptions {
            seed: settings.seed,
            offset_noise: settings.noise_offset,
            prior_weight: settings.prior_loss_weight as f32,
        },
        run: run(task, places)?,
        epochs: match settings.length {
            TrainLength::Epochs(epochs) => Some(epochs),
            TrainLength::Steps(_) => None,
        },
        latents: None,
        samples: samples(task, places)?,
        out: places.work.join("result.safetensors"),
        precision: match task.output.precision {
            TrainPrecision::F32 => SavePrecision::F32,
            TrainPrecision::F16 => SavePrecision::F16,
            TrainPrecision::Bf16 => SavePrecision::Bf16,
        },
        metadata: metadata(task, places)?,
    })
}

fn subject(concept: &TrainConcept, places: &Places<'_>) -> Result<Concept, TrainerError> {
    let folder = &places.dataset(&concept.dataset)?.folder;
    let caption = Some(concept.instance_prompt.clone());
    Ok(Concept { repeats: concept.repeats, caption, ..Concept::new(folder, Role::Subject) })
}

fn class(
    number: usize,
    concept: &TrainConcept,
    places: &Places<'_>,
) -> Result<Option<ClassPictures>, TrainerError> {
    let Some(class) = &concept.class else { return Ok(None) };
    let pictures = places.dataset(&concept.dataset)?.items.len() as u64;
    let count = pictures.saturating_mul(u64::from(class.pictures_per_picture));
    if count > MAX_CLASS_PICTURES {
        return Err(TrainerError::Setting {
            field: "classPicturesPerPicture",
            value: class.pictures_per_picture.to_string(),
            allowed: format!(
                "the {pictures} pictures of {} would need {count} of the class, {MAX_CLASS_PICTURES} are allowed",
                concept.dataset
            ),
        });
    }
    let given = class.dataset.as_deref().map(|name| places.dataset(name)).transpose()?;
    if given.is_none() && count == 0 {
        return Ok(None);
    }
    Ok(Some(ClassPictures {
        prompt: class.prompt.clone(),
        negative_prompt: class.negative_prompt.clone(),
        given: given.map(|local| local.folder.clone()),
        folder: places.work.join(format!("class-{number}")),
        count: usize::try_from(count).unwrap_or(usize::MAX),
        steps: DRAWING_STEPS,
        guidance_scale: DRAWING_GUIDANCE,
    }))
}

fn method(method: &TrainMethod, train_text: bool) -> Method {
    match method {
        TrainMethod::Lora { rank, alpha, text_encoder_rank, conv, attention_only, dropout } => {
            let shape = |rank: u32, alpha: f64| LoraShape { rank: rank as usize, alpha };
            // One strength for both: an alpha that is the rank of the one is the rank of the other.
            let text_alpha = alpha * f64::from(*text_encoder_rank) / f64::from((*rank).max(1));
            Method::Lora(LoraOptions {
                shape: shape(*rank, *alpha),
                targets: if *attention_only { LoraTargets::Attention } else { LoraTargets::Transformers },
                dropout: *dropout,
                conv: conv.map(|(rank, alpha)| shape(rank, alpha)),
                text_encoder: train_text.then(|| shape(*text_encoder_rank, text_alpha)),
            })
        }
        TrainMethod::DreamBooth | TrainMethod::FullFineTune => {
            Method::Full(FullOptions { unet: true, text_encoder: train_text })
        }
        TrainMethod::TextualInversion { token, vectors, initializer_text } => {
            Method::TextualInversion(TextualInversionOptions {
                name: token.clone(),
                vectors: *vectors as usize,
                initial: initializer_text.clone(),
            })
        }
        TrainMethod::Hypernetwork { hidden_multiplier, activation, layer_norm } => {
            Method::Hypernetwork(HypernetworkOptions {
                layers: vec![1.0, *hidden_multiplier, 1.0],
                activation: activation.clone(),
                layer_norm: *layer_norm,
                ..HypernetworkOptions::default()
            })
        }
    }
}

fn dataset(settings: &TrainHyperparameters) -> DatasetOptions {
    DatasetOptions {
        resolution: settings.resolution,
        buckets: BucketOptions { enabled: settings.aspect_ratio_buckets, ..BucketOptions::default() },
        crop: if settings.random_crop { Crop::Random } else { Crop::Centre },
        flip: settings.horizontal_flip,
        captions: CaptionOptions {
            shuffle: settings.shuffle_captions,
            keep_tokens: settings.keep_tokens as usize,
            dropout: f64::from(settings.caption_dropout_percent) / 100.0,
        },
        batch_size: settings.batch_size as usize,
    }
}

fn run(task: &TrainTask, places: &Places<'_>) -> Result<RunOptions, TrainerError> {
    let settings = &task.hyperparameters;
    let rate = settings.learning_rate;
    let unknown = |field, value: &str, error: &dyn std::fmt::Display| TrainerError::Setting {
        field,
        value: value.to_owned(),
        allowed: error.to_string(),
    };
    let (optimizer, schedule) = (optimizer_name(settings.optimizer), schedule_name(settings.schedule));
    let checkpoints = CheckpointOptions {
        folder: places.checkpoints(),
        every: u64::from(task.checkpoints.every_steps),
        keep: LOCAL_CHECKPOINTS,
    };
    Ok(RunOptions {
        steps: match settings.length {
            TrainLength::Steps(steps) => u64::from(steps),
            TrainLength::Epochs(_) => 1,
        },
        accumulation: settings.gradient_accumulation_steps,
        clip_norm: Some(settings.max_gradient_norm),
        algorithm: algorithm(optimizer, Some(settings.weight_decay))
            .map_err(|error| unknown("optimizer", optimizer, &error))?,
        rates: Rates { text_encoder: settings.text_encoder_learning_rate.unwrap_or(0.0), ..Rates::all(rate) },
        decay: schedule
            .parse::<Decay>()
            .map_err(|error| unknown("learningRateSchedule", schedule, &error))?,
        warmup: u64::from(settings.warmup_steps),
        ema: settings.exponential_moving_average.then(EmaOptions::default),
        text_encoder_share: f64::from(settings.text_encoder_percent) / 100.0,
        checkpoints: Some(checkpoints),
        sample_every: task.samples.as_ref().map(|samples| u64::from(samples.every_steps)),
        ..RunOptions::default()
    })
}

fn optimizer_name(optimizer: Optimizer) -> &'static str {
    match optimizer {
        Optimizer::AdamW => "adamw",
        Optimizer::AdamW8Bit => "adamw-8bit",
        Optimizer::Adafactor => "adafactor",
        Optimizer::Sgd => "sgd",
    }
}

fn schedule_name(schedule: LearningRateSchedule) -> &'static str {
    match schedule {
        LearningRateSchedule::Constant => "constant",
        LearningRateSchedule::Linear => "linear",
        LearningRateSchedule::Cosine => "cosine",
        LearningRateSchedule::CosineWithRestarts => "cosine_with_restarts",
        LearningRateSchedule::Polynomial => "polynomial",
    }
}

fn samples(task: &TrainTask, places: &Places<'_>) -> Result<Option<SamplePlan>, TrainerError> {
    let Some(samples) = &task.samples else { return Ok(None) };
    let (sampler, _) = Sampler::parse(DRAWING_SAMPLER).map_err(|error| TrainerError::Setting {
        field: "sampler",
        value: DRAWING_SAMPLER.to_owned(),
        allowed: error.to_string(),
    })?;
    let side = task.hyperparameters.resolution;
    Ok(Some(SamplePlan {
        prompts: samples.prompts.clone(),
        folder: places.work.join("samples"),
        width: side,
        height: side,
        steps: samples.steps,
        guidance_scale: DRAWING_GUIDANCE,
        sampler,
        seed: samples.seed,
    }))
}

/// What the file says besides what every training says: names that only the task knows.
fn metadata(task: &TrainTask, places: &Places<'_>) -> Result<BTreeMap<String, String>, TrainerError> {
    let (mut sets, mut folders) = (Vec::new(), serde_json::Map::new());
    for concept in &task.concepts {
        let local = places.dataset(&concept.dataset)?;
        let counts = serde_json::json!({"n_repeats": concept.repeats, "img_count": local.items.len()});
        folders.insert(concept.dataset.clone(), counts);
    }
    for name in datasets(task) {
        let local = places.dataset(name)?;
        sets.push(serde_json::json!({"name": name, "pictures": local.items.len(), "digest": local.digest}));
    }
    let prompts: Vec<&str> = task.concepts.iter().map(|concept| concept.instance_prompt.as_str()).collect();
    let words = match &task.method {
        TrainMethod::TextualInversion { token, .. } => token.clone(),
        _ => prompts.join(","),
    };
    let kind = match &task.method {
        TrainMethod::Lora { .. } => "Lora",
        TrainMethod::DreamBooth => "DreamBooth",
        TrainMethod::TextualInversion { .. } => "TextualInversion",
        TrainMethod::Hypernetwork { .. } => "Hypernetwork",
        TrainMethod::FullFineTune => "FullFineTune",
    };
    let stem =
        task.output.file_name.rsplit_once('.').map_or(task.output.file_name.as_str(), |(stem, _)| stem);
    let said = [
        ("easel.training_job", task.job.clone()),
        ("easel.method", kind.to_owned()),
        ("easel.trigger_words", words),
        ("easel.instance_prompts", serde_json::json!(prompts).to_string()),
        ("easel.datasets", serde_json::Value::from(sets).to_string()),
        ("ss_dataset_dirs", serde_json::Value::from(folders).to_string()),
        ("ss_output_name", stem.to_owned()),
        ("ss_sd_model_name", task.base_model.clone()),
    ];
    Ok(said.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests;
