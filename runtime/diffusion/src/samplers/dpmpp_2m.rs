//! DPM-Solver++(2M), Lu et al. 2022: k-diffusion's `sample_dpmpp_2m`.

use candle_core::{Result, Tensor};

use crate::schedule::Schedule;

use super::sampler::{Entry, Plan, Steps, World};

pub(super) static DPMPP_2M: Entry = Entry {
    name: "DPM++ 2M",
    aliases: &[
        ("k_dpmpp_2m", None),
        ("k_dpmpp_2m_ka", Some(Schedule::Karras)),
        // diffusers' class spreads its steps evenly unless `use_karras_sigmas` is set.
        ("dpmsolvermultistepscheduler", Some(Schedule::Uniform)),
        ("dpmsolvermultistep", Some(Schedule::Uniform)),
    ],
    automatic: Schedule::Karras,
    uses_schedule: true,
    eta: None,
    min_steps: 1,
    build: |plan| Box::new(Dpmpp2m::new(plan)),
};

struct Dpmpp2m {
    sigmas: Vec<f32>,
    last: Option<Tensor>,
}

impl Dpmpp2m {
    fn new(plan: &Plan) -> Self {
        Self { sigmas: plan.sigmas(), last: None }
    }
}

/// The log signal-to-noise time λ = -ln σ.
fn lambda(sigma: f32) -> f32 {
    -sigma.ln()
}

impl Steps for Dpmpp2m {
    fn len(&self) -> usize {
        self.sigmas.len() - 1
    }

    fn initial_scale(&self) -> f32 {
        self.sigmas[0]
    }

    fn step(&mut self, index: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let (sigma, next) = (self.sigmas[index], self.sigmas[index + 1]);
        let clean = world.denoised(x, sigma)?;
        let h = lambda(next) - lambda(sigma);
        let target = match self.last.take() {
            // The last step goes to zero noise, where h is infinite: the clean latent itself.
            Some(last) if next > 0.0 => {
                let r = (lambda(sigma) - lambda(self.sigmas[index - 1])) / h;
                let w = f64::from(1.0 / (2.0 * r));
                ((&clean * (1.0 + w))? - (last * w)?)?
            }
            _ => clean.clone(),
        };
        self.last = Some(clean);
        if next == 0.0 {
            return Ok(target);
        }
        (x * f64::from(next / sigma))? - (target * f64::from((-h).exp_m1()))?
    }
}
