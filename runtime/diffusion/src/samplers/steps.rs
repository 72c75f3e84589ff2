//! What a run of a sampler is.

use candle_core::{Result, Tensor};

use super::world::World;

/// A run of one sampler: its noise levels, and whatever it remembers from step to step.
///
/// ```text
/// x = steps.noised(init, world.noise())
/// for index in 0.. until steps.is_done(index): x = steps.step(index, x, world)
/// ```
pub trait Steps: Send {
    /// How many steps there are; an estimate, which changes, where the sampler chooses their size.
    fn len(&self) -> usize;

    /// A run of nothing.
    fn is_empty(&self) -> bool {
        self.is_done(0)
    }

    /// Have `index` steps ended the run?
    fn is_done(&self, index: usize) -> bool {
        index >= self.len()
    }

    /// The latent that the run begins with: `init` (clean, unscaled) under `noise` of unit variance, as
    /// strongly as the run's first level says; noise alone where there is no picture to begin with.
    fn noised(&self, init: Option<&Tensor>, noise: &Tensor) -> Result<Tensor>;

    /// Smallest and largest noise level between which [`World::brownian`] will be asked; `None` if it
    /// will not.
    fn noise_range(&self) -> Option<(f32, f32)> {
        None
    }

    /// One step from `x`, `[batch, channels, h, w]`, to the next latent.
    fn step(&mut self, index: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor>;
}
