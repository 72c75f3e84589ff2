//! How a model was trained: what it predicts, and with how much noise.
//!
//! A folder says it in its scheduler's configuration. A single file says it by marks, which trainers
//! leave as empty tensors or metadata, or not at all. Facts: diffusers' `DDPMScheduler`, A1111's
//! `sd_models.py` (`v_pred`, `ztsnr`) and `sd_models_config.py`.

use std::path::Path;

use serde_json::{Value, json};

use crate::inspect::{Family, Kind, PredictionType, parse_prediction, prediction_of};
use crate::layout::Folder;
use crate::schedule::NoiseTable;
use crate::weights::Header;

use super::error::LoadError;

/// How timesteps are spread over a run, which only diffusers' schedulers ask the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestepSpacing {
    Leading,
    Trailing,
    Linspace,
}

/// What is known of a model's training.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// `None` where only the network itself can tell.
    pub prediction_type: Option<PredictionType>,
    pub table: NoiseTable,
    /// The last timestep of training was pure noise.
    pub zero_terminal_snr: bool,
    /// What the scheduler's configuration says, if there is one.
    pub timestep_spacing: Option<TimestepSpacing>,
}

impl Training {
    /// By the marks of a single file.
    pub(super) fn of_file(header: &Header, kind: Kind, family: Family) -> Self {
        let zero_terminal_snr = header.tensors.contains_key("ztsnr");
        let table = NoiseTable::sd1();
        Self {
            prediction_type: prediction_of(header, kind, family),
            table: if zero_terminal_snr { table.zero_terminal_snr() } else { table },
            zero_terminal_snr,
            timestep_spacing: None,
        }
    }

    /// By the scheduler's configuration: its class is the request's business, its training is the
    /// model's. `unet` is the header of the UNet, which is asked if there is no configuration.
    ///
    /// # Errors
    /// The configuration says what no model of these families was trained with.
    pub(super) fn of_folder(
        path: &Path,
        folder: &Folder,
        unet: &Header,
        family: Family,
    ) -> Result<Self, LoadError> {
        match folder.scheduler()? {
            Some(config) => Config { path, config: &config }.read(unet, family),
            None => Ok(Self::of_file(unet, Kind::Unet, family)),
        }
    }
}

struct Config<'a> {
    path: &'a Path,
    config: &'a Value,
}

impl Config<'_> {
    fn read(&self, unet: &Header, family: Family) -> Result<Training, LoadError> {
        let timesteps = match self.said("num_train_timesteps") {
            None => 1000,
            Some(v) => v
                .as_u64()
                .filter(|n| (2..=10_000).contains(n))
                .ok_or_else(|| self.refuse("num_train_timesteps", "it is a number from 2 to 10000"))?,
        };
        let table = self.table(timesteps as usize)?;
        let zero_terminal_snr = self.said("rescale_betas_zero_snr") == Some(&json!(true));
        Ok(Training {
            prediction_type: self.prediction(unet, family)?,
            table: if zero_terminal_snr { table.zero_terminal_snr() } else { table },
            zero_terminal_snr,
            timestep_spacing: self.said("timestep_spacing").and_then(spacing),
        })
    }

    fn prediction(&self, unet: &Header, family: Family) -> Result<Option<PredictionType>, LoadError> {
        let Some(said) = self.said("prediction_type") else {
            // Configurations older than the key are of models that predict epsilon, unless marked.
            let marked = prediction_of(unet, Kind::Unet, family);
            return Ok(marked.or(Some(PredictionType::Epsilon)));
        };
        let known = said.as_str().and_then(parse_prediction);
        let remedy = "this engine runs models that predict epsilon or v";
        known.map(Some).ok_or_else(|| self.refuse("prediction_type", remedy))
    }

    fn table(&self, timesteps: usize) -> Result<NoiseTable, LoadError> {
        if let Some(list) = self.said("trained_betas") {
            let numbers = list.as_array().filter(|l| l.len() <= 10_000);
            let betas: Option<Vec<f64>> = numbers.and_then(|l| l.iter().map(Value::as_f64).collect());
            let refuse = || self.refuse("trained_betas", "they are 2 to 10000 numbers between 0 and 1");
            return NoiseTable::from_betas(&betas.ok_or_else(refuse)?).map_err(|_| refuse());
        }
        let beta = |key: &str, default: f64| match self.said(key) {
            None => Ok(default),
            Some(v) => v
                .as_f64()
                .filter(|b| *b > 0.0 && *b < 0.5)
                .ok_or_else(|| self.refuse(key, "it is a number between 0 and 0.5")),
        };
        let (start, end) = (beta("beta_start", 0.00085)?, beta("beta_end", 0.012)?);
        match self.said("beta_schedule").map(Value::as_str) {
            None | Some(Some("scaled_linear")) => Ok(NoiseTable::scaled_linear(start, end, timesteps)),
            Some(Some("linear")) => Ok(NoiseTable::linear(start, end, timesteps)),
            Some(Some("squaredcos_cap_v2")) => Ok(NoiseTable::squared_cosine(timesteps)),
            Some(_) => {
                let known = "known are scaled_linear, linear, squaredcos_cap_v2 and `trained_betas`";
                Err(self.refuse("beta_schedule", known))
            }
        }
    }

    fn said(&self, key: &str) -> Option<&Value> {
        self.config.get(key).filter(|v| !v.is_null())
    }

    fn refuse(&self, key: &str, remedy: &'static str) -> LoadError {
        let value: String = self.config[key].to_string().chars().take(80).collect();
        LoadError::Unsupported {
            path: self.path.display().to_string(),
            found: format!("a model trained with the scheduler's `{key}` = {value}"),
            remedy,
        }
    }
}

fn spacing(value: &Value) -> Option<TimestepSpacing> {
    match value.as_str()? {
        "leading" => Some(TimestepSpacing::Leading),
        "trailing" => Some(TimestepSpacing::Trailing),
        "linspace" => Some(TimestepSpacing::Linspace),
        _ => None,
    }
}
