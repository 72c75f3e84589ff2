//! All that a model is shown besides the latent and the time.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::control::{ActiveUnit, sum_residuals};
use crate::inspect::PredictionType;
use crate::pipeline::batching::Row;
use crate::pipeline::networks::Networks;
use crate::pipeline::prompts::Prompts;
use crate::schedule::NoiseTable;
use crate::text::{Conditioning, Role};
use crate::unet::{ControlResiduals, UnetInput};

use super::combine::{Guidance, Predictions};
use super::micro::Micro;

/// Channels behind the latent's.
#[derive(Debug, Clone)]
pub(in crate::pipeline) enum Extra {
    None,
    /// `[1, 5, h, w]`: mask and latent of the masked picture; for inpainting models.
    Masked(Tensor),
    /// `[1, 4, h, w]`: latent of the picture to edit, not scaled; for instruct-pix2pix models.
    Picture(Tensor),
}

/// One model with everything that stays the same from step to step.
#[derive(Debug)]
pub(in crate::pipeline) struct Sight<'a> {
    pub networks: Arc<Networks>,
    pub table: &'a NoiseTable,
    pub prediction: PredictionType,
    /// Do the latents have SDXL's colours?
    pub is_sdxl: bool,
    pub prompts: Prompts,
    pub extra: Extra,
    pub micro: Micro,
    /// `[1, n]`: the guidance scale as a vector, which LCM models read instead of being guided.
    pub told_guidance: Option<Tensor>,
    pub guidance: Guidance,
    pub control: Vec<ActiveUnit>,
}

/// When a model is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub timestep: f32,
    /// Calls of the model before this one, which prompts count by.
    pub evaluation: usize,
    /// Steps before this one, and of the whole walk, which ControlNets count by.
    pub step: (usize, usize),
}

impl Sight<'_> {
    /// The guided prediction for `x`, `[batch, channels, h, w]` of unit variance. `evaluate` answers rows.
    pub(super) fn predict(
        &self,
        x: &Tensor,
        at: Moment,
        evaluate: impl FnOnce(Vec<Row>) -> Result<Vec<Tensor>>,
    ) -> Result<Tensor> {
        let missing = || candle_core::Error::Msg("a prompt without any part".into());
        let positive = self.prompts.positive(at.evaluation);
        let negative = self.prompts.negative(at.evaluation).ok_or_else(missing)?;
        let weights: Vec<f64> = positive.iter().map(|(weight, _)| f64::from(*weight)).collect();
        let seen = self.seen(x)?;
        let mut rows = Vec::new();
        for (_, cond) in positive {
            self.push(&mut rows, &seen, at, (cond, Role::Positive))?;
        }
        let plain = self.guidance.is_plain(&weights) && !matches!(self.extra, Extra::Picture(_));
        if !plain {
            self.push(&mut rows, &seen, at, (negative, Role::Negative))?;
        }
        let is_edit = matches!(self.extra, Extra::Picture(_));
        if is_edit {
            self.push(&mut rows, &self.blind(x)?, at, (negative, Role::Negative))?;
        }
        let batch = x.dim(0)?;
        let all = evaluate(rows)?;
        let mut parts = all.chunks(batch).map(|rows| Tensor::cat(rows, 0));
        let mut next =
            || parts.next().unwrap_or_else(|| Err(candle_core::Error::Msg("a prediction is missing".into())));
        let mut conds = Vec::with_capacity(weights.len());
        for weight in weights {
            conds.push((next()?, weight));
        }
        let uncond = if plain { None } else { Some(next()?) };
        let blind = if is_edit { Some(next()?) } else { None };
        self.guidance.combine(&Predictions { conds, uncond, blind })
    }

    /// The latent with the further channels that this model reads.
    fn seen(&self, x: &Tensor) -> Result<Tensor> {
        match &self.extra {
            Extra::None => Ok(x.clone()),
            Extra::Masked(extra) | Extra::Picture(extra) => join(x, extra),
        }
    }

    /// The same with zeros for the picture.
    fn blind(&self, x: &Tensor) -> Result<Tensor> {
        match &self.extra {
            Extra::None | Extra::Masked(_) => Ok(x.clone()),
            Extra::Picture(extra) => join(x, &extra.zeros_like()?),
        }
    }

    /// One row per picture.
    fn push(
        &self,
        rows: &mut Vec<Row>,
        seen: &Tensor,
        at: Moment,
        (said, role): (&Conditioning, Role),
    ) -> Result<()> {
        let added = self.micro.added(said, role)?;
        for i in 0..seen.dim(0)? {
            let mut row = Row {
                x: seen.narrow(0, i, 1)?.contiguous()?,
                timestep: at.timestep,
                context: said.context.clone(),
                added: added.clone(),
                guidance: self.told_guidance.clone(),
                control: None,
            };
            row.control = self.controlled(&row, role, at.step)?;
            rows.push(row);
        }
        Ok(())
    }

    /// What ControlNets add to a row. They run one row at a time in the job's own thread: their networks
    /// are this job's alone.
    fn controlled(&self, row: &Row, role: Role, step: (usize, usize)) -> Result<Option<ControlResiduals>> {
        if self.control.is_empty() {
            return Ok(None);
        }
        let timesteps = Tensor::full(row.timestep, 1, row.x.device())?;
        let input = UnetInput {
            added: row.added.as_ref(),
            guidance: row.guidance.as_ref(),
            ..UnetInput::new(&row.x, &timesteps, &row.context)
        };
        sum_residuals(&self.control, &input, &[role == Role::Positive], step)
    }
}

fn join(x: &Tensor, extra: &Tensor) -> Result<Tensor> {
    let (_, channels, height, width) = extra.dims4()?;
    Tensor::cat(&[x, &extra.broadcast_as((x.dim(0)?, channels, height, width))?], 1)
}
