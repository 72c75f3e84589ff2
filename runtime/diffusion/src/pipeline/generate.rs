//! From a request to pictures.

use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::Tensor;

use crate::control::ActiveUnit;
use crate::inspect::Family;
use crate::output::infotext;
use crate::samplers::Start;
use crate::text::EncodeOptions;
use crate::unet::guidance_embedding;

use super::batching::Batcher;
use super::error::GenerateError;
use super::guidance::{Extra, Guidance, Micro, Sight};
use super::hires::enlarge;
use super::library::Library;
use super::load::Pipeline;
use super::networks::Networks;
use super::pass::{Begin, Count, Pass};
use super::picture::{Picture, to_rgb};
use super::progress::{Listener, Observer, Progress, Reporter, Stage};
use super::prompts::Plans;
use super::request::{Hires, HiresPlan, Request};
use super::separate_vae::SeparateVae;
use super::source::{Overlay, Source};

/// Guidance by the picture where a request says nothing of it: the paper's own value.
const IMAGE_GUIDANCE: f32 = 1.5;

/// What a pass shows of the picture it starts from, and how large it is in pixels: height and width, which
/// a second pass may cut before it is sampled.
#[derive(Clone)]
struct Seen {
    extra: Extra,
    told: (u32, u32),
}

/// The model that goes on, and from which share of the noise levels.
type Refiner<'a> = Option<(f64, Sight<'a>)>;

/// What a generation may use besides its own model.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// Where evaluations meet those of other jobs; `None` computes them alone, with the same result.
    pub batcher: Option<&'a Batcher>,
    /// The model of [`Request::refiner_switch_at`]. Networks that prompts name are not for it.
    pub refiner: Option<&'a Pipeline>,
    /// What prompts may name; `None`: nothing.
    pub library: Option<&'a Library>,
    /// Instead of the model's own autoencoder.
    pub vae: Option<&'a Arc<SeparateVae>>,
}

impl Pipeline {
    /// Makes the pictures of a request; `on_progress` is called before the first and after every step,
    /// and ends the work by returning `Break`.
    ///
    /// The same request gives the same bytes, and a picture is the same alone and in a batch.
    ///
    /// # Errors
    /// The request is refused, it was cancelled, or the model gave values that are not finite.
    pub fn generate(
        &self,
        request: &Request,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Vec<Picture>, GenerateError> {
        self.generate_with(Surroundings::default(), request, &mut Listener(on_progress))
    }

    /// As [`Pipeline::generate`], in company of other jobs or with a refiner.
    ///
    /// # Errors
    /// As there.
    pub fn generate_with(
        &self,
        around: Surroundings,
        request: &Request,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Picture>, GenerateError> {
        let mut reporter = Reporter::new(observer);
        let (latents, job) = self.sampled(around, request, &mut reporter)?;
        job.decode(&latents, &mut reporter)
    }

    /// The latents at the end of sampling, `[batch, channels, height/8, width/8]`.
    ///
    /// # Errors
    /// As for [`Pipeline::generate`].
    pub fn denoise(
        &self,
        request: &Request,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Tensor, GenerateError> {
        let mut listener = Listener(on_progress);
        let mut reporter = Reporter::new(&mut listener);
        Ok(self.sampled(Surroundings::default(), request, &mut reporter)?.0)
    }

    fn sampled<'a>(
        &'a self,
        around: Surroundings<'a>,
        request: &'a Request,
        reporter: &mut Reporter,
    ) -> Result<(Tensor, Job<'a>), GenerateError> {
        self.validate(request)?;
        self.check_refiner(request, around.refiner)?;
        for unit in &request.control {
            unit.net.check_fits(self.base.unet.config())?;
        }
        let plans = Plans::new(request, None);
        let key = around.library().key(plans.positive.networks(), request.tiling, around.vae)?;
        self.check_memory(request, &key)?;
        let networks = self.variant(&key)?;
        let mut job = Job { pipeline: self, around, request, networks, plans, overlay: None };
        let latents = job.sample(reporter)?;
        Ok((latents, job))
    }
}

impl<'a> Surroundings<'a> {
    fn library(&self) -> &'a Library {
        self.library.unwrap_or(Library::empty())
    }
}

/// One generation.
struct Job<'a> {
    pipeline: &'a Pipeline,
    around: Surroundings<'a>,
    request: &'a Request,
    /// With the adapters of the first pass.
    networks: Arc<Networks>,
    plans: Plans,
    overlay: Option<Overlay>,
}

impl<'a> Job<'a> {
    fn sample(&mut self, reporter: &mut Reporter) -> Result<Tensor, GenerateError> {
        let request = self.request;
        reporter.report(Stage::Encode, 0, 1)?;
        let source = Source::new(&self.networks, request)?;
        let strength = request.mode.source().map(|s| s.strength);
        let (extra, begin) = match source {
            Some(source) => {
                self.overlay = source.overlay;
                (source.extra, Some(Begin { latent: source.latent, blend: source.blend }))
            }
            None => (Extra::None, None),
        };
        let first = self.first_pass(strength, extra)?;
        let second = request.hires.as_ref().map(|hires| self.second_pass(hires)).transpose()?;
        reporter.report(Stage::Encode, 1, 1)?;

        let total = first.len() + second.as_ref().map_or(0, Pass::len);
        let mut count = Count { done: 0, total };
        let batcher = self.around.batcher;
        let latents = first.run(begin.as_ref(), batcher, reporter, &mut count)?;
        let (Some(second), Some(hires)) = (second, &request.hires) else { return Ok(latents) };
        self.check_finite(&latents)?;
        let latent = enlarge(&self.networks, request, hires, &latents)?;
        second.run(Some(&Begin { latent, blend: None }), batcher, reporter, &mut count)
    }

    fn first_pass(&self, strength: Option<f64>, extra: Extra) -> Result<Pass<'a>, GenerateError> {
        let request = self.request;
        let latent = self.latent(request.width / 8, request.height / 8);
        let seen = Seen { extra, told: (request.height, request.width) };
        // With a second pass the refiner is kept for it, as in A1111.
        let scale = request.guidance_scale;
        let refiner =
            if request.hires.is_some() { None } else { self.refiner(&self.plans, scale, seen.clone())? };
        Ok(Pass {
            request,
            sampler: request.sampler,
            schedule: request.schedule,
            steps: request.steps as usize,
            start: strength.map(|s| Start::by_share(request.steps as usize, s)),
            base: self.steered(&self.networks, &self.plans, scale, seen, latent)?,
            refiner,
            latent,
        })
    }

    fn second_pass(&self, hires: &'a Hires) -> Result<Pass<'a>, GenerateError> {
        let request = self.request;
        let steps = hires.steps.unwrap_or(request.steps) as usize;
        let plans = Plans::new(request, Some(hires));
        let networks = plans.positive.networks();
        let key = self.around.library().key(networks, request.tiling, self.around.vae)?;
        let networks = self.pipeline.variant(&key)?;
        let scale = hires.guidance_scale.unwrap_or(request.guidance_scale);
        let plan = HiresPlan::new(hires.size, request.width, request.height);
        let (width, height) = plan.latents();
        let latent = self.latent(width, height);
        let seen = Seen { extra: Extra::None, told: (plan.enlarged.1, plan.enlarged.0) };
        Ok(Pass {
            request,
            sampler: hires.sampler.unwrap_or(request.sampler),
            schedule: hires.schedule.unwrap_or(request.schedule),
            steps,
            start: Some(Start::exact(steps, hires.strength)),
            base: self.steered(&networks, &plans, scale, seen.clone(), latent)?,
            refiner: self.refiner(&plans, scale, seen)?,
            latent,
        })
    }

    fn latent(&self, width: u32, height: u32) -> (usize, usize, usize) {
        (self.networks.vae.config().latent_channels, height as usize, width as usize)
    }

    fn refiner(&self, plans: &Plans, scale: f32, seen: Seen) -> Result<Refiner<'a>, GenerateError> {
        let (Some(share), Some(refiner)) = (self.request.refiner_switch_at, self.around.refiner) else {
            return Ok(None);
        };
        let networks = refiner.variant(&Library::empty().key(&[], self.request.tiling, None)?)?;
        Ok(Some((share, self.sight(refiner, &networks, plans, scale, seen)?)))
    }

    /// This job's model, with its ControlNets; those are not for refiners.
    fn steered(
        &self,
        networks: &Arc<Networks>,
        plans: &Plans,
        scale: f32,
        seen: Seen,
        (_, height, width): (usize, usize, usize),
    ) -> Result<Sight<'a>, GenerateError> {
        let mut sight = self.sight(self.pipeline, networks, plans, scale, seen)?;
        sight.control = ActiveUnit::all(&self.request.control, width as u32 * 8, height as u32 * 8)?;
        Ok(sight)
    }

    /// A model with its own encoding of the prompts.
    fn sight(
        &self,
        pipeline: &'a Pipeline,
        networks: &Arc<Networks>,
        plans: &Plans,
        scale: f32,
        seen: Seen,
    ) -> Result<Sight<'a>, GenerateError> {
        let request = self.request;
        let options = EncodeOptions {
            clip_skip: request.clip_skip as usize,
            emphasis: request.emphasis,
            embeddings: self.around.library().embeddings(),
            ..Default::default()
        };
        // Models distilled to know the scale are told it, and are not guided besides.
        let failed = |source| GenerateError::Tensor { stage: Stage::Encode, source };
        let told_guidance = networks.unet.config().guidance.map(|width| guidance_embedding(&[scale], width));
        let told_guidance = told_guidance.transpose().map_err(failed)?;
        let scale = if told_guidance.is_some() { 1.0 } else { scale };
        Ok(Sight {
            networks: Arc::clone(networks),
            table: &pipeline.table,
            prediction: pipeline.prediction_type,
            is_sdxl: matches!(pipeline.family(), Family::Sdxl | Family::SdxlRefiner),
            prompts: plans.encode(&networks.text, &options)?,
            extra: seen.extra,
            micro: Micro::of(pipeline.family(), seen.told.0, seen.told.1),
            told_guidance,
            guidance: Guidance {
                scale: f64::from(scale),
                image_scale: f64::from(request.image_guidance_scale.unwrap_or(IMAGE_GUIDANCE)),
                rescale: f64::from(request.guidance_rescale),
            },
            control: Vec::new(),
        })
    }

    fn check_finite(&self, latents: &Tensor) -> Result<(), GenerateError> {
        for (i, seed) in self.request.seeds().into_iter().enumerate() {
            let finite = latents.get(i).and_then(|l| all_finite(&l));
            if !finite.map_err(|source| GenerateError::Tensor { stage: Stage::Denoise, source })? {
                return Err(GenerateError::NotFinite { stage: Stage::Denoise, seed });
            }
        }
        Ok(())
    }

    /// Decodes one picture at a time, which bounds the memory by that of one.
    fn decode(&self, latents: &Tensor, reporter: &mut Reporter) -> Result<Vec<Picture>, GenerateError> {
        let failed = |source| GenerateError::Tensor { stage: Stage::Decode, source };
        let request = self.request;
        reporter.report(Stage::Decode, 0, request.batch_size)?;
        self.check_finite(latents)?;
        let refiner = self.around.refiner.map(|r| &r.options);
        let credits = self.around.library().credits(&self.plans);
        let mut pictures = Vec::new();
        for (i, seed) in request.seeds().into_iter().enumerate() {
            let latent = latents.narrow(0, i, 1).and_then(|l| l.contiguous()).map_err(failed)?;
            let decoded = self.networks.vae.decode(&latent).map_err(failed)?;
            let rgb = to_rgb(&decoded)
                .map_err(failed)?
                .ok_or(GenerateError::NotFinite { stage: Stage::Decode, seed })?;
            let rgb = match &self.overlay {
                Some(overlay) => overlay.apply(&rgb)?,
                None => rgb,
            };
            let infotext = infotext(request, &self.pipeline.options, refiner, &credits, i as u32);
            pictures.push(Picture { rgb, seed, infotext });
            reporter.report(Stage::Decode, i as u32 + 1, request.batch_size)?;
        }
        Ok(pictures)
    }
}

fn all_finite(x: &Tensor) -> candle_core::Result<bool> {
    Ok(x.flatten_all()?.to_vec1::<f32>()?.iter().all(|v| v.is_finite()))
}
