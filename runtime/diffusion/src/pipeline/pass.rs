//! One walk of a sampler, from noise or from a picture under noise.

use candle_core::{Result, Tensor};

use crate::random::{BrownianNoise, LatentNoise, NoiseOptions, Variation};
use crate::samplers::{Options, Plan, Sampler, Start, Steps};
use crate::schedule::{AlignedModel, Schedule, SigmaOptions};

use super::batching::{Batcher, Evaluator};
use super::error::GenerateError;
use super::guidance::{Blend, GuidedModel, Sight};
use super::preview::preview;
use super::progress::{Reporter, Stage};
use super::request::Request;

/// What is sampled, how, and by which models.
pub(super) struct Pass<'a> {
    pub request: &'a Request,
    pub sampler: Sampler,
    pub schedule: Schedule,
    pub steps: usize,
    /// Where a walk from a picture begins.
    pub start: Option<Start>,
    pub base: Sight<'a>,
    pub refiner: Option<(f64, Sight<'a>)>,
    /// Channels, height, width of one latent.
    pub latent: (usize, usize, usize),
}

/// What a walk begins with besides noise.
pub(super) struct Begin {
    /// `[batch, channels, h, w]`, or of a batch of one.
    pub latent: Tensor,
    pub blend: Option<Blend>,
}

/// Counts steps over all walks of a generation.
pub(super) struct Count {
    pub done: u32,
    pub total: u32,
}

impl Pass<'_> {
    /// Steps of all walks: samplers that choose their steps take one walk for each picture.
    pub fn len(&self) -> u32 {
        let walks = if self.sampler.entry().alone { self.request.batch_size } else { 1 };
        self.walk().len() as u32 * walks
    }

    fn walk(&self) -> Box<dyn Steps> {
        let request = self.request;
        let aligned = if self.base.is_sdxl { AlignedModel::Sdxl } else { AlignedModel::Sd1 };
        let options = Options {
            eta: request.eta,
            s_churn: request.churn.s_churn,
            s_tmin: request.churn.s_tmin,
            s_tmax: request.churn.s_tmax,
            s_noise: request.churn.s_noise,
            discard_penultimate: request.discard_penultimate,
            sigmas: SigmaOptions { aligned, ..request.sigmas },
        };
        let plan =
            Plan { options, start: self.start, ..Plan::new(self.base.table, self.steps, self.schedule) };
        self.sampler.start(&plan)
    }

    /// The latents at the end, `[batch, channels, h, w]`.
    ///
    /// # Errors
    /// The observer ended the work, or the arithmetic failed.
    pub fn run(
        &self,
        begin: Option<&Begin>,
        batcher: Option<&Batcher>,
        reporter: &mut Reporter,
        count: &mut Count,
    ) -> std::result::Result<Tensor, GenerateError> {
        let pictures = self.request.batch_size as usize;
        let size = if self.sampler.entry().alone { 1 } else { pictures };
        let evaluator = Evaluator::new(batcher);
        reporter.report(Stage::Denoise, count.done, count.total)?;
        let mut latents = Vec::new();
        for first in (0..pictures).step_by(size) {
            let company = Company { pass: self, first, count: size, evaluator: &evaluator };
            latents.push(company.walk(begin, reporter, count)?);
        }
        Tensor::cat(&latents, 0).map_err(|e| reporter.failed(Stage::Denoise, e))
    }
}

/// The pictures of one walk.
struct Company<'a> {
    pass: &'a Pass<'a>,
    first: usize,
    count: usize,
    evaluator: &'a Evaluator<'a>,
}

impl Company<'_> {
    fn walk(
        &self,
        begin: Option<&Begin>,
        reporter: &mut Reporter,
        count: &mut Count,
    ) -> std::result::Result<Tensor, GenerateError> {
        let mut steps = self.pass.walk();
        let done_before = count.done;
        let others = count.total.saturating_sub(steps.len() as u32);
        let init = self.init(begin).map_err(|e| reporter.failed(Stage::Denoise, e))?;
        let mut world = self.world(begin, &*steps, reporter);
        let mut x = world
            .noise
            .draw()
            .and_then(|noise| steps.noised(init.as_ref(), &noise))
            .map_err(|e| world.reporter.failed(Stage::Denoise, e))?;
        let mut index = 0;
        while !steps.is_done(index) {
            world.step = (index, steps.len());
            let result = steps.step(index, &x, &mut world);
            x = result.map_err(|e| world.reporter.failed(Stage::Denoise, e))?;
            index += 1;
            count.done = done_before + index as u32;
            // A sampler that chooses its steps corrects the total as it goes.
            count.total = (others + steps.len() as u32).max(count.done);
            world.reporter.report(Stage::Denoise, count.done, count.total)?;
            self.preview(&mut world)?;
        }
        self.ended(x, begin).map_err(|e| world.reporter.failed(Stage::Denoise, e))
    }

    fn world<'w, 'o>(
        &'w self,
        begin: Option<&Begin>,
        steps: &dyn Steps,
        reporter: &'w mut Reporter<'o>,
    ) -> GuidedModel<'w, 'o> {
        let (pass, request) = (self.pass, self.pass.request);
        let seeds = &request.seeds()[self.first..self.first + self.count];
        let brownian = pass.sampler.entry().brownian.then(|| steps.noise_range()).flatten();
        GuidedModel {
            base: &pass.base,
            refiner: pass.refiner.as_ref().map(|(share, sight)| (*share, sight)),
            evaluator: self.evaluator,
            reporter,
            noise: LatentNoise::with_options(seeds, pass.latent, self.noise_options()),
            brownian: brownian
                .map(|range| BrownianNoise::new(seeds, pass.latent, request.noise_source, range)),
            blend: begin.and_then(|b| self.blend(b)),
            evaluations: 0,
            step: (0, steps.len()),
            refining: false,
            seen: None,
        }
    }

    fn noise_options(&self) -> NoiseOptions {
        let request = self.pass.request;
        let variation = request.variation.filter(|v| v.strength > 0.0).map(|v| {
            let seeds =
                (self.first..self.first + self.count).map(|i| v.seed.wrapping_add(i as u64)).collect();
            Variation { seeds, strength: v.strength }
        });
        NoiseOptions {
            source: request.noise_source,
            variation,
            resize_from: request.seed_resize.map(|(w, h)| (h as usize / 8, w as usize / 8)),
            step_seed_delta: i64::from(request.ensd),
        }
    }

    /// What of `x`, of a batch of all pictures or of one, belongs to these.
    fn own(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        if batch == 1 {
            return x.broadcast_as((self.count, channels, height, width))?.contiguous();
        }
        x.narrow(0, self.first, self.count)?.contiguous()
    }

    fn init(&self, begin: Option<&Begin>) -> Result<Option<Tensor>> {
        begin.map(|b| self.own(&b.latent)).transpose()
    }

    fn blend(&self, begin: &Begin) -> Option<Blend> {
        let blend = begin.blend.as_ref()?;
        let init = if blend.init.dims()[0] == 1 {
            blend.init.clone()
        } else {
            blend.init.narrow(0, self.first, self.count).ok()?
        };
        Some(Blend { init, mask: blend.mask.clone() })
    }

    /// What is not masked is the picture itself, whatever the last step left of it.
    fn ended(&self, x: Tensor, begin: Option<&Begin>) -> Result<Tensor> {
        match begin.and_then(|b| self.blend(b)) {
            Some(blend) => blend.apply(&x),
            None => Ok(x),
        }
    }

    fn preview(&self, world: &mut GuidedModel) -> std::result::Result<(), GenerateError> {
        let Some(seen) = world.seen.take() else { return Ok(()) };
        let sight = &self.pass.base;
        let drawn = world.reporter.preview(|| preview(sight.networks.preview.as_ref(), &seen, sight.is_sdxl));
        drawn.map_err(|e| world.reporter.failed(Stage::Denoise, e))
    }
}
