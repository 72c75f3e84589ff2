//! Full fine-tuning: the networks' own weights are the variables.

use candle_core::Var;

use crate::pipeline::Pipeline;
use crate::weights::WeightError;

use super::error::TrainError;
use super::objective::Objective;
use super::plan::{Group, NamedVar, Output, Plan, Wiring};

/// Which networks are trained; the autoencoder never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullOptions {
    pub unet: bool,
    pub text_encoder: bool,
}

impl Default for FullOptions {
    fn default() -> Self {
        Self { unet: true, text_encoder: false }
    }
}

pub(super) fn plan(
    pipeline: &Pipeline,
    options: FullOptions,
    objective: &Objective,
) -> Result<Plan, TrainError> {
    let mut names: Vec<(String, Group)> = Vec::new();
    if options.text_encoder {
        for (index, prefix) in pipeline.text_prefixes().iter().enumerate() {
            let of = |name: &str| Some(name.strip_prefix(prefix)?.strip_prefix('.')?.to_owned());
            let read = |name: &str| pipeline.text_encoder().reads(index, name, objective.clip_skip);
            names.extend(
                pipeline
                    .weights()
                    .shapes()
                    .filter(|(name, _)| of(name).is_some_and(|module| read(&module)))
                    .map(|(name, _)| (name.to_owned(), Group::TextEncoder)),
            );
        }
    }
    if options.unet {
        let shapes = pipeline.weights().shapes();
        // What only distilled models read, and training gives no value for.
        let all = shapes.filter(|(name, _)| name.starts_with("unet.") && !name.contains(".cond_proj."));
        names.extend(all.map(|(name, _)| (name.to_owned(), Group::Unet)));
    }
    if names.is_empty() {
        let (value, limit) = ("neither".to_owned(), "train the UNet, the text encoder or both".to_owned());
        return Err(TrainError::Option { option: "networks", value, limit });
    }
    let (mut tracked, mut plain) = (Wiring::default(), Wiring::default());
    let mut variables = Vec::with_capacity(names.len());
    for (name, group) in names {
        let tensor = match pipeline.weights().tensor(&name) {
            // What no network reads was not kept.
            Err(WeightError::Missing { .. }) => continue,
            tensor => tensor?,
        };
        // A copy of its own, since a variable is written.
        let var = tensor
            .copy()
            .and_then(|tensor| Var::from_tensor(&tensor))
            .map_err(TrainError::tensor("a copy of the weights"))?;
        pipeline.weights().forget(std::iter::once(name.as_str()));
        tracked.given.insert(name.clone(), var.as_tensor().clone());
        plain.given.insert(name.clone(), var.as_detached_tensor());
        variables.push(NamedVar::new(name, var, group));
    }
    Ok(Plan { variables, tracked, plain, dropout: None, output: Output::Model })
}
