//! Sizes, crops and masks, before anything is encoded.
//!
//! Facts: A1111's `processing.py` (`StableDiffusionProcessingImg2Img.init`).

use image::{GrayImage, RgbImage};

use crate::pipeline::error::GenerateError;
use crate::pipeline::request::{Area, Fill, ImageToImage, Inpaint, RequestError, Resize};
use crate::raster::{ResizeMode, crop, crop_region, expand_region, fill_masked, fit, gaussian_blur, invert};

use super::overlay::Overlay;

/// What the model is to see.
#[derive(Debug)]
pub(super) struct Prepared {
    pub picture: RgbImage,
    /// Of the picture's size.
    pub mask: Option<GrayImage>,
    pub overlay: Option<Overlay>,
}

/// A picture that may change everywhere, in the request's size unless its latent is to be stretched.
pub(super) fn whole(source: &ImageToImage, width: u32, height: u32) -> Result<Prepared, GenerateError> {
    let picture = match source.resize {
        Resize::Latent => (*source.picture).clone(),
        Resize::Picture(mode) => fit(&source.picture, mode, width, height)?,
    };
    Ok(Prepared { picture, mask: None, overlay: None })
}

/// A picture with a mask, in the request's size.
pub(super) fn masked(
    source: &ImageToImage,
    inpaint: &Inpaint,
    width: u32,
    height: u32,
) -> Result<Prepared, GenerateError> {
    let mask = if inpaint.inverted { invert(&inpaint.mask) } else { (*inpaint.mask).clone() };
    let sigma = inpaint.mask_blur as f32;
    let mask = if inpaint.mask_blur > 0 { gaussian_blur(&mask, sigma, sigma)? } else { mask };
    let mut prepared = match inpaint.area {
        Area::WholePicture => whole_picture(source, &mask, width, height)?,
        Area::OnlyMasked { padding } => only_masked(source, &mask, padding, width, height)?,
    };
    if inpaint.fill != Fill::Original
        && let Some(mask) = &prepared.mask
    {
        prepared.picture = fill_masked(&prepared.picture, mask)?;
    }
    Ok(prepared)
}

fn whole_picture(
    source: &ImageToImage,
    mask: &GrayImage,
    width: u32,
    height: u32,
) -> Result<Prepared, GenerateError> {
    let mode = picture_mode(source);
    let picture = fit(&source.picture, mode, width, height)?;
    let mask = fit(mask, mode, width, height)?;
    // Doubled, so that the original returns only where the mask is less than half.
    let mut strong = mask.clone();
    strong.iter_mut().for_each(|m| *m = m.saturating_mul(2));
    let overlay = Overlay::new(&picture, &strong, None);
    Ok(Prepared { picture, mask: Some(mask), overlay: Some(overlay) })
}

fn only_masked(
    source: &ImageToImage,
    mask: &GrayImage,
    padding: u32,
    width: u32,
    height: u32,
) -> Result<Prepared, GenerateError> {
    // A blur may take the last pixel of a small mask away.
    let region = crop_region(mask, padding).ok_or(RequestError::MaskEmpty)?;
    let region = expand_region(region, (width, height), mask.dimensions());
    let picture = fit(&crop(&source.picture, region)?, ResizeMode::ResizeAndFill, width, height)?;
    let seen = fit(&crop(mask, region)?, ResizeMode::ResizeAndFill, width, height)?;
    let overlay = Overlay::new(&source.picture, mask, Some(region));
    Ok(Prepared { picture, mask: Some(seen), overlay: Some(overlay) })
}

/// Latents of masked pictures are never stretched; the request was checked for that.
fn picture_mode(source: &ImageToImage) -> ResizeMode {
    match source.resize {
        Resize::Picture(mode) => mode,
        Resize::Latent => ResizeMode::JustResize,
    }
}
