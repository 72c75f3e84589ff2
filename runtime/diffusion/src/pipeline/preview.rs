//! What a latent will look like, without the autoencoder, which takes as long as several steps: by the
//! tiny one, if there is one, otherwise by a linear map of the four channels.
//!
//! Facts: the regressions that A1111's `sd_vae_approx.py` holds ("Approx cheap").

use candle_core::{Result, Tensor};
use image::{Rgb, RgbImage};

use crate::vae::TinyVae;

use super::picture::to_rgb;

/// Red, green and blue of each latent channel, -1 to 1.
type Factors = [[f32; 3]; 4];

const SD1: Factors =
    [[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]];
const SDXL: Factors = [
    [0.3448, 0.4168, 0.4395],
    [-0.1953, -0.0290, 0.0250],
    [0.1074, 0.0886, -0.0163],
    [-0.3730, -0.2499, -0.2088],
];

/// A picture for each of `latents`, `[batch, 4, h, w]` as samplers have them: of full size from the tiny
/// autoencoder, otherwise one pixel per latent.
pub(super) fn preview(tiny: Option<&TinyVae>, latents: &Tensor, is_sdxl: bool) -> Result<Vec<RgbImage>> {
    let Some(tiny) = tiny.filter(|t| t.has_decoder()) else { return approximate(latents, is_sdxl) };
    let decoded = tiny.decode(latents)?;
    let mut pictures = Vec::with_capacity(decoded.dim(0)?);
    for i in 0..decoded.dim(0)? {
        // A latent that is not finite yet has no preview; the last one is checked for it.
        pictures.extend(to_rgb(&decoded.narrow(0, i, 1)?)?);
    }
    Ok(pictures)
}

fn approximate(latents: &Tensor, is_sdxl: bool) -> Result<Vec<RgbImage>> {
    let factors = if is_sdxl { &SDXL } else { &SD1 };
    let (batch, _, height, width) = latents.dims4()?;
    (0..batch)
        .map(|i| {
            let values = latents.get(i)?.flatten_all()?.to_vec1::<f32>()?;
            let area = height * width;
            Ok(RgbImage::from_fn(width as u32, height as u32, |x, y| {
                let at = y as usize * width + x as usize;
                Rgb(std::array::from_fn(|colour| {
                    let sum: f32 =
                        factors.iter().zip(values.chunks(area)).map(|(f, plane)| f[colour] * plane[at]).sum();
                    ((sum / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0) as u8
                }))
            }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn nothing_is_grey_and_the_first_channel_is_bright() {
        let zeros = Tensor::zeros((2, 4, 3, 5), DType::F32, &Device::Cpu).unwrap();
        let grey = approximate(&zeros, false).unwrap();
        assert_eq!((grey.len(), grey[0].dimensions()), (2, (5, 3)));
        assert_eq!(grey[1].get_pixel(4, 2).0, [127; 3]);
        let bright = approximate(&zeros.ones_like().unwrap(), true).unwrap();
        assert_eq!(bright[0].get_pixel(0, 0).0, [112, 156, 158]);
    }
}
