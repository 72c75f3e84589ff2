//! What samplers see as the model.

use std::sync::Arc;

use candle_core::{Error, Result, Tensor};

use crate::pipeline::batching::Evaluator;
use crate::pipeline::progress::Reporter;
use crate::random::{BrownianNoise, LatentNoise};
use crate::samplers::World;
use crate::schedule::NoiseTable;

use super::blend::Blend;
use super::prediction::{c_in, clean, clean_of_epsilon, epsilon};
use super::sight::{Moment, Sight};

/// The guided model of one pass, with the pictures' noise.
pub(in crate::pipeline) struct GuidedModel<'a, 'o> {
    pub base: &'a Sight<'a>,
    /// Goes on from a share of the noise levels.
    pub refiner: Option<(f64, &'a Sight<'a>)>,
    pub evaluator: &'a Evaluator<'a>,
    pub reporter: &'a mut Reporter<'o>,
    pub noise: LatentNoise,
    pub brownian: Option<BrownianNoise>,
    pub blend: Option<Blend>,
    /// How often the model was asked.
    pub evaluations: usize,
    /// Steps that were taken, and of the whole walk.
    pub step: (usize, usize),
    pub refining: bool,
    /// The last clean latent that the model saw, for previews.
    pub seen: Option<Tensor>,
}

impl<'a> GuidedModel<'a, '_> {
    /// The model for a timestep. The switch is A1111's `apply_refiner`: by the share of the timesteps
    /// that are done, and never back.
    fn sight(&mut self, timestep: f32) -> &'a Sight<'a> {
        match self.refiner {
            Some((share, refiner)) => {
                self.refining |= (999.0 - f64::from(timestep)) / 1000.0 >= share;
                if self.refining { refiner } else { self.base }
            }
            None => self.base,
        }
    }

    fn predict(&mut self, sight: &Sight, x: &Tensor, timestep: f32) -> Result<Tensor> {
        self.reporter.poll()?;
        let at = Moment { timestep, evaluation: self.evaluations, step: self.step };
        self.evaluations += 1;
        let networks = Arc::clone(&sight.networks);
        sight.predict(x, at, |rows| self.evaluator.evaluate(&networks, rows))
    }

    fn clean(&mut self, sight: &Sight, x: &Tensor, sigma: f32, timestep: f32) -> Result<Tensor> {
        let prediction = self.predict(sight, &(x * c_in(sigma))?, timestep)?;
        let clean = self.blended(clean(sight.prediction, &prediction, x, sigma)?)?;
        self.seen = Some(clean.clone());
        Ok(clean)
    }

    fn blended(&self, x: Tensor) -> Result<Tensor> {
        match &self.blend {
            Some(blend) => blend.apply(&x),
            None => Ok(x),
        }
    }
}

/// The timestep whose noise level is the nearest.
fn nearest(table: &NoiseTable, sigma: f32) -> f32 {
    let t = table.timestep_of(sigma);
    let off = |t: f32| (table.sigma_at(t) - sigma).abs();
    if off(t.ceil()) < off(t.floor()) { t.ceil() } else { t.floor() }
}

impl World for GuidedModel<'_, '_> {
    /// The picture is put back around the mask in what the model sees as clean.
    fn denoised(&mut self, x: &Tensor, sigma: f32) -> Result<Tensor> {
        let sight = self.sight(nearest(self.base.table, sigma));
        self.clean(sight, x, sigma, sight.table.timestep_of(sigma))
    }

    fn denoised_at(&mut self, x: &Tensor, sigma: f32, timestep: f32) -> Result<Tensor> {
        let sight = self.sight(timestep.floor());
        self.clean(sight, x, sigma, timestep)
    }

    /// The picture is put back around the mask before the model looks, and without noise, as A1111's
    /// samplers of timesteps do it.
    fn epsilon(&mut self, x: &Tensor, timestep: f32) -> Result<Tensor> {
        let sight = self.sight(timestep.floor());
        let x = self.blended(x.clone())?;
        let sigma = sight.table.sigma_at(timestep);
        let prediction = self.predict(sight, &x, timestep)?;
        let epsilon = epsilon(sight.prediction, prediction, &x, sigma)?;
        self.seen = Some(clean_of_epsilon(&epsilon, &x, sigma)?);
        Ok(epsilon)
    }

    fn noise(&mut self) -> Result<Tensor> {
        self.noise.draw()
    }

    fn brownian(&mut self, sigma: f32, next: f32) -> Result<Tensor> {
        let none = || Error::Msg(format!("this run has no Brownian motion from {sigma} to {next}"));
        self.brownian.as_mut().ok_or_else(none)?.draw(sigma, next)
    }
}
