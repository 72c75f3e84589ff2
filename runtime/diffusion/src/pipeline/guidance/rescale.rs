//! The guided prediction with the deviation of the conditional one.
//!
//! Facts: Lin et al. 2023, section 3.4; diffusers' `rescale_noise_cfg`.

use candle_core::{Result, Tensor};

/// Moves each picture of `guided` by `share` (0 to 1) of the way to the standard deviation that it has in
/// `cond`; both `[batch, channels, h, w]`.
pub(super) fn rescale(guided: &Tensor, cond: &Tensor, share: f64) -> Result<Tensor> {
    let mut pictures = Vec::with_capacity(guided.dim(0)?);
    for i in 0..guided.dim(0)? {
        let one = guided.narrow(0, i, 1)?;
        let ratio = deviation(&cond.narrow(0, i, 1)?)? / deviation(&one)?;
        // A prediction without any deviation has nothing to rescale.
        let factor = if ratio.is_finite() { share * ratio + (1.0 - share) } else { 1.0 };
        pictures.push((one * factor)?);
    }
    Tensor::cat(&pictures, 0)
}

fn deviation(x: &Tensor) -> Result<f64> {
    let values = x.flatten_all()?.to_vec1::<f32>()?;
    let count = values.len().max(2) as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
    Ok((squares / (count - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_full_share_has_the_conditional_deviation_and_none_changes_nothing() {
        let x = Tensor::new(&[[1.0_f32, -1.0, 3.0, -3.0], [2.0, 2.0, 2.0, 2.0]], &Device::Cpu).unwrap();
        let (guided, cond) = ((&x * 3.0).unwrap(), x.clone());
        let all = rescale(&guided, &cond, 1.0).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(all[0], [1.0, -1.0, 3.0, -3.0]);
        assert_eq!(all[1], [6.0; 4], "no deviation, no change");
        let none = rescale(&guided, &cond, 0.0).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(none, guided.to_vec2::<f32>().unwrap());
    }
}
