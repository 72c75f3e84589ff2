//! What a network's prediction says about the clean latent and about the noise.
//!
//! Facts: k-diffusion's `external.py` (`CompVisDenoiser`, `CompVisVDenoiser`, neither quantised) and
//! A1111's `sd_samplers_timesteps.py` (`CompVisTimestepsVDenoiser`).

use candle_core::{Result, Tensor};

use crate::inspect::PredictionType;

/// What x = clean + sigma · noise is multiplied by before the network sees it.
pub(super) fn c_in(sigma: f32) -> f64 {
    f64::from(1.0 / sigma.mul_add(sigma, 1.0).sqrt())
}

/// The clean latent in `x` = clean + sigma · noise.
pub(super) fn clean(kind: PredictionType, prediction: &Tensor, x: &Tensor, sigma: f32) -> Result<Tensor> {
    match kind {
        PredictionType::Epsilon => x - (prediction * f64::from(sigma))?,
        PredictionType::VPrediction => {
            let power = f64::from(sigma.mul_add(sigma, 1.0));
            (x * (1.0 / power))? - (prediction * (f64::from(sigma) / power.sqrt()))?
        }
    }
}

/// The noise in `x` of unit variance, at this noise level.
pub(super) fn epsilon(kind: PredictionType, prediction: Tensor, x: &Tensor, sigma: f32) -> Result<Tensor> {
    match kind {
        PredictionType::Epsilon => Ok(prediction),
        PredictionType::VPrediction => {
            let (signal, noise) = shares(sigma);
            (prediction * signal)? + (x * noise)?
        }
    }
}

/// The clean latent in `x` of unit variance, given its noise.
pub(super) fn clean_of_epsilon(epsilon: &Tensor, x: &Tensor, sigma: f32) -> Result<Tensor> {
    let (signal, noise) = shares(sigma);
    (x - (epsilon * noise)?)? / signal
}

/// √ᾱ and √(1 - ᾱ) at a noise level.
fn shares(sigma: f32) -> (f64, f64) {
    let power = f64::from(sigma).mul_add(f64::from(sigma), 1.0).sqrt();
    (1.0 / power, f64::from(sigma) / power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn both_kinds_find_the_same_clean_latent_and_noise() {
        // v = √ᾱ · noise - √(1 - ᾱ) · clean (Salimans and Ho 2022).
        let clean_latent = Tensor::new(&[0.5_f32, -1.0, 2.0], &Device::Cpu).unwrap();
        let noise = Tensor::new(&[1.0_f32, 0.3, -0.7], &Device::Cpu).unwrap();
        let close = |got: Tensor, want: &Tensor| {
            let off = (got - want).unwrap().abs().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
            assert!(off < 2e-6, "{off}");
        };
        for sigma in [0.03_f32, 1.0, 3.0] {
            let (a, b) = shares(sigma);
            let v = ((&noise * a).unwrap() - (&clean_latent * b).unwrap()).unwrap();
            let x = (&clean_latent + (&noise * f64::from(sigma)).unwrap()).unwrap();
            let unit = (&x * c_in(sigma)).unwrap();
            for (kind, prediction) in [(PredictionType::Epsilon, &noise), (PredictionType::VPrediction, &v)] {
                close(clean(kind, prediction, &x, sigma).unwrap(), &clean_latent);
                let e = epsilon(kind, prediction.clone(), &unit, sigma).unwrap();
                close(e.clone(), &noise);
                if sigma < 2.0 {
                    close(clean_of_epsilon(&e, &unit, sigma).unwrap(), &clean_latent);
                }
            }
        }
    }
}
