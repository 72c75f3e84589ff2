//! All that a model is shown besides the latent and the time.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::inspect::PredictionType;
use crate::pipeline::batching::Row;
use crate::pipeline::networks::Networks;
use crate::pipeline::prompts::Prompts;
use crate::schedule::NoiseTable;
use crate::text::{Conditioning, Role};

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
}

impl Sight<'_> {
    /// The guided prediction for `x`, `[batch, channels, h, w]` of unit variance. `evaluate` answers rows;
    /// `evaluation` counts the model's calls in this pass.
    pub fn predict(
        &self,
        x: &Tensor,
        timestep: f32,
        evaluation: usize,
        evaluate: impl FnOnce(Vec<Row>) -> Result<Vec<Tensor>>,
    ) -> Result<Tensor> {
        let missing = || candle_core::Error::Msg("a prompt without any part".into());
        let positive = self.prompts.positive(evaluation);
        let negative = self.prompts.negative(evaluation).ok_or_else(missing)?;
        let weights: Vec<f64> = positive.iter().map(|(weight, _)| f64::from(*weight)).collect();
        let seen = self.seen(x)?;
        let mut rows = Vec::new();
        for (_, cond) in positive {
            self.push(&mut rows, &seen, timestep, (cond, Role::Positive))?;
        }
        let plain = self.guidance.is_plain(&weights) && !matches!(self.extra, Extra::Picture(_));
        if !plain {
            self.push(&mut rows, &seen, timestep, (negative, Role::Negative))?;
        }
        let is_edit = matches!(self.extra, Extra::Picture(_));
        if is_edit {
            self.push(&mut rows, &self.blind(x)?, timestep, (negative, Role::Negative))?;
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
        timestep: f32,
        (said, role): (&Conditioning, Role),
    ) -> Result<()> {
        let added = self.micro.added(said, role)?;
        for i in 0..seen.dim(0)? {
            rows.push(Row {
                x: seen.narrow(0, i, 1)?.contiguous()?,
                timestep,
                context: said.context.clone(),
                added: added.clone(),
                guidance: self.told_guidance.clone(),
                control: None,
            });
        }
        Ok(())
    }
}

fn join(x: &Tensor, extra: &Tensor) -> Result<Tensor> {
    let (_, channels, height, width) = extra.dims4()?;
    Tensor::cat(&[x, &extra.broadcast_as((x.dim(0)?, channels, height, width))?], 1)
}
