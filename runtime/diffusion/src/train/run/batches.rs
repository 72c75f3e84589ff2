//! From a data set to what a model in training is given.

use std::collections::{BTreeSet, HashMap};

use candle_core::{Device, Tensor};

use super::error::RunError;
use super::learner::{Learner, Source};
use crate::random::{Philox, TorchRng};
use crate::text::Conditioning;
use crate::train::data::{Crop, Dataset, Draw, LatentCache, Sample, Stream};
use crate::train::{Batch, Captions, MicroConditions, NamedVar, TrainError, Trainee, offset_noise};

/// Most captions that are encoded once and kept: half a gigabyte for SD 1.x.
const MAX_KEPT_CAPTIONS: usize = 2000;

/// What is drawn and weighed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchOptions {
    pub seed: u64,
    /// A share of noise that is the same all over a channel; 0.05 to 0.1 are usual, 0 is none.
    pub offset_noise: f64,
    /// What the mean loss of the class's pictures counts beside that of the subject's.
    pub prior_weight: f32,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { seed: 0, offset_noise: 0.0, prior_weight: 1.0 }
    }
}

/// Batches of a data set for a trainee.
#[derive(Debug)]
pub struct Batches<'a> {
    trainee: &'a Trainee,
    dataset: &'a Dataset,
    cache: LatentCache,
    /// Captions that were encoded, where nothing changes them.
    encoded: HashMap<String, Conditioning>,
    options: BatchOptions,
}

impl<'a> Batches<'a> {
    /// Encodes the captions, unless the text encoder is trained, they are shuffled, or there are too many.
    ///
    /// # Errors
    /// An option is out of its limits or the text encoder fails.
    pub fn new(
        trainee: &'a Trainee,
        dataset: &'a Dataset,
        cache: LatentCache,
        options: BatchOptions,
    ) -> Result<Self, RunError> {
        for (option, value) in
            [("offset noise", options.offset_noise), ("prior weight", f64::from(options.prior_weight))]
        {
            if !(0.0..=100.0).contains(&value) {
                let allowed = "it is a number from 0 to 100";
                return Err(RunError::Option { option, value: value.to_string(), allowed });
            }
        }
        let mut all: BTreeSet<String> = dataset.items().iter().map(|item| item.caption.clone()).collect();
        if dataset.options().captions.dropout > 0.0 {
            all.insert(String::new());
        }
        let changing = trainee.trains_text() || dataset.options().captions.shuffle;
        let mut encoded = HashMap::new();
        if !changing && all.len() <= MAX_KEPT_CAPTIONS {
            let texts: Vec<String> = all.into_iter().collect();
            // Together, so that all are of one length.
            let conditions = trainee.encode_prompts(&texts)?;
            encoded.extend(texts.into_iter().zip(conditions));
        }
        Ok(Self { trainee, dataset, cache, encoded, options })
    }

    /// Encodes every picture that the cache keeps, so that the first steps take no longer than the others
    /// and a picture that cannot be used ends the run before it begins.
    ///
    /// # Errors
    /// A picture cannot be read or encoded.
    pub fn prepare(&mut self, mut each: impl FnMut(usize, usize)) -> Result<(), RunError> {
        if self.dataset.options().crop == Crop::Random {
            return Ok(());
        }
        let total = self.dataset.items().len();
        let mut done = BTreeSet::new();
        for index in 0..2 * self.dataset.batches_per_epoch() as u64 {
            let (subject, class) = self.dataset.batch(self.options.seed, index)?;
            for sample in subject.iter().chain(&class) {
                self.latent(sample)?;
                if done.insert(sample.item) {
                    each(done.len(), total);
                }
            }
            if done.len() == total {
                break;
            }
        }
        Ok(())
    }

    fn latent(&mut self, sample: &Sample) -> Result<Tensor, RunError> {
        let encode = |pixels: &Tensor| self.trainee.encode(pixels).map_err(RunError::from);
        self.cache.latent(self.dataset, sample, encode)
    }

    /// The noise of one place in a batch, with the shape of `latent`.
    fn noise(&self, latent: &Tensor, index: u64, place: u64) -> candle_core::Result<Tensor> {
        let seed = Draw::new(self.options.seed, Stream::Noise, index, place).bits();
        let noise =
            Tensor::from_vec(Philox::new(seed).randn(latent.elem_count()), latent.shape(), &Device::Cpu)?;
        if self.options.offset_noise == 0.0 {
            return Ok(noise);
        }
        let seed = Draw::new(self.options.seed, Stream::OffsetNoise, index, place).bits();
        offset_noise(&noise, self.options.offset_noise, &mut TorchRng::new(seed))
    }

    fn captions(&self, samples: &[Sample]) -> Captions {
        let encoded: Option<Vec<Conditioning>> =
            samples.iter().map(|sample| self.encoded.get(&sample.caption).cloned()).collect();
        encoded.map_or_else(
            || Captions::Texts(samples.iter().map(|sample| sample.caption.clone()).collect()),
            Captions::Encoded,
        )
    }

    fn micro(&self, sample: &Sample) -> MicroConditions {
        let item = &self.dataset.items()[sample.item];
        let placed = &sample.placed;
        MicroConditions {
            original: (item.height, item.width),
            crop: (placed.top, placed.left),
            target: (placed.frame.height, placed.frame.width),
        }
    }
}

impl Source for Batches<'_> {
    type Batch = Batch;

    fn batch(&mut self, index: u64) -> Result<Batch, RunError> {
        let (mut samples, class) = self.dataset.batch(self.options.seed, index)?;
        // The loss is a mean over all samples; the mean over each half is what counts.
        let halves = if class.is_empty() { 1.0 } else { 2.0 };
        let mut weights = vec![halves; samples.len()];
        weights.extend(class.iter().map(|_| halves * self.options.prior_weight));
        samples.extend(class);
        let failed = |source| TrainError::Tensor { stage: "the batch", source };
        let steps = self.trainee.pipeline().noise_table().alphas_cumprod().len() as u64;
        let (mut latents, mut noise, mut timesteps) = (Vec::new(), Vec::new(), Vec::new());
        for (place, sample) in samples.iter().enumerate() {
            let place = place as u64;
            let latent = self.latent(sample)?;
            noise.push(self.noise(&latent, index, place).map_err(failed)?);
            latents.push(latent);
            let mut draw = Draw::new(self.options.seed, Stream::Timestep, index, place);
            timesteps.push(draw.below(steps) as u32);
        }
        Ok(Batch {
            latents: Tensor::cat(&latents, 0).map_err(failed)?,
            noise: Tensor::cat(&noise, 0).map_err(failed)?,
            timesteps,
            captions: self.captions(&samples),
            weights,
            micro: Some(samples.iter().map(|sample| self.micro(sample)).collect()),
            dropout_seed: Draw::new(self.options.seed, Stream::Dropout, index, 0).bits(),
        })
    }
}

impl Learner for Trainee {
    type Batch = Batch;

    fn variables(&self) -> &[NamedVar] {
        Trainee::variables(self)
    }

    fn gradients(&self, batch: &Batch) -> Result<(f32, Vec<Tensor>), RunError> {
        Ok(self.step(batch)?)
    }
}
