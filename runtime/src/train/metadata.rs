//! What the written file says about its training.
//!
//! Keys of kohya-ss' `networks` (`ss_…`), which web UIs and importers of models read.

use std::collections::BTreeMap;

use easel_diffusion::train::Method;
use easel_diffusion::train::data::{Dataset, Role};

use super::plan::TrainPlan;

/// Longest list of tags.
const MAX_TAGS: usize = 200;

pub(super) fn of(plan: &TrainPlan, dataset: &Dataset, base: &str) -> BTreeMap<String, String> {
    let mut said = plan.metadata.clone();
    let mut say = |key: &str, value: String| {
        said.entry(key.to_owned()).or_insert(value);
    };
    let base_name = plan.base.file_name().unwrap_or_default().to_string_lossy().into_owned();
    say("ss_sd_model_name", base_name);
    say("ss_new_sd_model_hash", base.to_owned());
    say("ss_max_train_steps", plan.run.steps.to_string());
    say("ss_learning_rate", plan.run.rates.unet.to_string());
    say("ss_text_encoder_lr", plan.run.rates.text_encoder.to_string());
    say("ss_optimizer", plan.run.algorithm.name().to_owned());
    say("ss_seed", plan.batches.seed.to_string());
    say("ss_resolution", format!("({0}, {0})", plan.dataset.resolution));
    say("ss_batch_size_per_device", plan.dataset.batch_size.to_string());
    say("ss_gradient_accumulation_steps", plan.run.accumulation.to_string());
    let of_role = |role| dataset.items().iter().filter(move |item| item.role == role);
    say("ss_num_train_images", of_role(Role::Subject).count().to_string());
    say("ss_num_reg_images", of_role(Role::Class).count().to_string());
    say("easel_dataset_digest", dataset.digest());
    match &plan.method {
        Method::Lora(options) => {
            say("ss_network_module", "networks.lora".into());
            say("ss_network_dim", options.shape.rank.to_string());
            say("ss_network_alpha", options.shape.alpha.to_string());
        }
        Method::TextualInversion(options) => say("ss_num_vectors", options.vectors.to_string()),
        Method::Hypernetwork(_) | Method::Full(_) => {}
    }
    let mut tags: BTreeMap<String, u64> = BTreeMap::new();
    for item in of_role(Role::Subject) {
        for tag in item.caption.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            if tags.len() < MAX_TAGS || tags.contains_key(tag) {
                *tags.entry(tag.to_owned()).or_default() += u64::from(item.repeats);
            }
        }
    }
    say("ss_tag_frequency", serde_json::json!({ "data": tags }).to_string());
    said
}
