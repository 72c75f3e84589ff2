//! What the written file says about its training.
//!
//! Keys of kohya-ss' `networks` (`ss_…`), which web UIs and importers of models read.

use std::collections::BTreeMap;

use easel_diffusion::train::data::{Crop, Dataset, DatasetOptions, Role};
use easel_diffusion::train::{GradientCheckpointing, Method};

use super::plan::TrainPlan;

/// Longest list of tags.
const MAX_TAGS: usize = 200;

/// The numbers of the run, `steps` of which were made, the pictures, the base. What the plan says itself comes first.
pub(super) fn of(plan: &TrainPlan, steps: u64, dataset: &Dataset, base: &str) -> BTreeMap<String, String> {
    let mut said = plan.metadata.clone();
    let mut say = |key: &str, value: String| {
        said.entry(key.to_owned()).or_insert(value);
    };
    let base_name = plan.base.file_name().unwrap_or_default().to_string_lossy().into_owned();
    say("ss_sd_model_name", base_name);
    say("ss_new_sd_model_hash", base.to_owned());
    say_run(plan, steps, &mut say);
    say_pictures(plan, steps, dataset, &mut say);
    match &plan.method {
        Method::Lora(options) => {
            say("ss_network_module", "networks.lora".into());
            say("ss_network_dim", options.shape.rank.to_string());
            say("ss_network_alpha", options.shape.alpha.to_string());
            say("ss_network_dropout", options.dropout.to_string());
        }
        Method::TextualInversion(options) => say("ss_num_vectors", options.vectors.to_string()),
        Method::Hypernetwork(_) | Method::Full(_) => {}
    }
    said
}

fn say_run(plan: &TrainPlan, steps: u64, say: &mut impl FnMut(&str, String)) {
    let run = &plan.run;
    say("ss_max_train_steps", steps.to_string());
    say("ss_learning_rate", run.rates.unet.to_string());
    say("ss_unet_lr", run.rates.unet.to_string());
    say("ss_text_encoder_lr", run.rates.text_encoder.to_string());
    say("ss_optimizer", run.algorithm.name().to_owned());
    say("ss_lr_scheduler", run.decay.name().to_owned());
    say("ss_lr_warmup_steps", run.warmup.to_string());
    say("ss_gradient_accumulation_steps", run.accumulation.to_string());
    say("ss_max_grad_norm", run.clip_norm.unwrap_or(0.0).to_string());
    say("ss_seed", plan.batches.seed.to_string());
    say("ss_noise_offset", plan.batches.offset_noise.to_string());
    say("ss_prior_loss_weight", plan.batches.prior_weight.to_string());
    say("ss_clip_skip", plan.objective.clip_skip.to_string());
    let checkpointing = plan.checkpointing != GradientCheckpointing::Off;
    say("ss_gradient_checkpointing", checkpointing.to_string());
    if let Some(gamma) = plan.objective.min_snr_gamma {
        say("ss_min_snr_gamma", gamma.to_string());
    }
    if let Some(ema) = &run.ema {
        say("easel_ema_decay", ema.decay.to_string());
    }
    say("easel_text_encoder_share", run.text_encoder_share.to_string());
}

fn say_pictures(plan: &TrainPlan, steps: u64, dataset: &Dataset, say: &mut impl FnMut(&str, String)) {
    let DatasetOptions { resolution, buckets, crop, flip, captions, batch_size } = &plan.dataset;
    say("ss_resolution", format!("({resolution}, {resolution})"));
    say("ss_enable_bucket", buckets.enabled.to_string());
    say("ss_random_crop", (*crop == Crop::Random).to_string());
    say("ss_flip_aug", flip.to_string());
    say("ss_shuffle_caption", captions.shuffle.to_string());
    say("ss_keep_tokens", captions.keep_tokens.to_string());
    say("ss_caption_dropout_rate", captions.dropout.to_string());
    say("ss_batch_size_per_device", batch_size.to_string());
    let rounds = dataset.batches_per_epoch() as u64;
    say("ss_num_batches_per_epoch", rounds.to_string());
    let shown = steps.saturating_mul(u64::from(plan.run.accumulation));
    say("ss_num_epochs", shown.div_ceil(rounds.max(1)).to_string());
    let of_role = |role| dataset.items().iter().filter(move |item| item.role == role);
    say("ss_num_train_images", of_role(Role::Subject).count().to_string());
    say("ss_num_reg_images", of_role(Role::Class).count().to_string());
    say("easel_dataset_digest", dataset.digest());
    let mut tags: BTreeMap<String, u64> = BTreeMap::new();
    for item in of_role(Role::Subject) {
        for tag in item.caption.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            if tags.len() < MAX_TAGS || tags.contains_key(tag) {
                *tags.entry(tag.to_owned()).or_default() += u64::from(item.repeats);
            }
        }
    }
    say("ss_tag_frequency", serde_json::json!({ "data": tags }).to_string());
}
