//! DPM-Solver++(2M), Lu et al. 2022: k-diffusion's `sample_dpmpp_2m`.

use candle_core::{Result, Tensor};

use crate::schedule::Schedule;

use super::entry::Entry;
use super::walk::{Level, Solver, Walk, blend};
use super::world::World;

pub(super) static DPMPP_2M: Entry = Entry {
    aliases: &[
        ("k_dpmpp_2m", None),
        // diffusers' class spreads its steps evenly unless `use_karras_sigmas` is set.
        ("dpmsolvermultistep", Some(Schedule::Uniform)),
    ],
    automatic: Schedule::Karras,
    ..Entry::plain("DPM++ 2M", |plan| Walk::boxed(plan, Dpmpp2m::default()))
};

/// The clean latent of the step before.
#[derive(Default)]
struct Dpmpp2m {
    last: Option<Tensor>,
}

impl Solver for Dpmpp2m {
    fn step(&mut self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let (sigma, next) = (at.sigma(), at.next());
        let clean = world.denoised(x, sigma as f32)?;
        let last = self.last.replace(clean.clone());
        if next == 0.0 {
            // The logarithm of zero noise is infinite: the clean latent itself.
            return Ok(clean);
        }
        let h = (sigma / next).ln();
        let target = match last {
            Some(last) => {
                let h_last = (f64::from(at.sigmas[at.index - 1]) / sigma).ln();
                let w = h / (2.0 * h_last);
                blend(1.0 + w, &clean, -w, &last)?
            }
            None => clean,
        };
        blend(next / sigma, x, -(-h).exp_m1(), &target)
    }
}
