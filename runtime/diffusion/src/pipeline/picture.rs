//! A finished picture.

use candle_core::{Result, Tensor};
use image::RgbImage;

/// Pixels, the seed that makes it again, and its parameters as A1111 writes them.
#[derive(Debug, Clone)]
pub struct Picture {
    pub rgb: RgbImage,
    pub seed: u64,
    pub infotext: String,
}

/// `decoded: [1, 3, h, w]`, about -1 to 1, to bytes; `None` if a value is not finite.
///
/// Rounds to the nearest of 256 levels, as diffusers does; A1111 cuts the fraction off, which is half
/// a level darker on average.
pub(super) fn to_rgb(decoded: &Tensor) -> Result<Option<RgbImage>> {
    let (_, _, height, width) = decoded.dims4()?;
    let values = decoded.get(0)?.permute((1, 2, 0))?.flatten_all()?.to_vec1::<f32>()?;
    if values.iter().any(|v| !v.is_finite()) {
        return Ok(None);
    }
    let bytes =
        values.iter().map(|v| ((v / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8).collect();
    let image = RgbImage::from_raw(width as u32, height as u32, bytes);
    Ok(Some(image.expect("the buffer has three bytes for each of width x height pixels")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn values_are_clamped_rounded_and_checked() {
        let x = Tensor::new(&[-2.0_f32, -1.0, 0.0, 0.5, 1.0, 9.0], &Device::Cpu).unwrap();
        let x = x.reshape((1, 3, 1, 2)).unwrap();
        let rgb = to_rgb(&x).unwrap().unwrap();
        assert_eq!(rgb.get_pixel(0, 0).0, [0, 128, 255]);
        assert_eq!(rgb.get_pixel(1, 0).0, [0, 191, 255]);
        let nan = Tensor::full(f32::NAN, (1, 3, 1, 1), &Device::Cpu).unwrap();
        assert!(to_rgb(&nan).unwrap().is_none());
    }
}
