//! Asking the network itself what it predicts, where files cannot say: SD 2.x.
//!
//! 2.0-base predicts noise and 2.1 v with the same names and shapes. Facts: A1111's
//! `sd_models_config.py` (`is_using_v_parameterization_for_sd2`).

use candle_core::{Device, Result, Tensor};

use crate::inspect::PredictionType;
use crate::unet::{Unet, UnetInput};

/// Runs the UNet once, on a flat grey latent at the last timestep. A model of noise gives about zero
/// there; one of v gives what is far below the latent.
pub(super) fn probe_prediction(unet: &Unet) -> Result<PredictionType> {
    let config = unet.config();
    let flat = |shape: &[usize]| Tensor::full(0.5_f32, shape, &Device::Cpu);
    let x = flat(&[1, config.in_channels, 8, 8])?;
    let context = flat(&[1, 2, config.context])?;
    let timesteps = Tensor::full(999_f32, 1, &Device::Cpu)?;
    let out = unet.forward(&UnetInput::new(&x, &timesteps, &context))?;
    let mean = (out - x)?.mean_all()?.to_scalar::<f32>()?;
    Ok(if mean < -1.0 { PredictionType::VPrediction } else { PredictionType::Epsilon })
}
