//! Where a picture starts from.

use std::sync::Arc;

use image::{GrayImage, RgbImage};

use crate::raster::ResizeMode;

/// What there is besides the prompt.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Mode {
    /// Nothing: from noise alone.
    #[default]
    TextToImage,
    /// A picture, all of which may change.
    ImageToImage(ImageToImage),
    /// A picture of which the masked part is drawn anew.
    Inpaint(ImageToImage, Inpaint),
}

impl Mode {
    /// The picture that the work starts from.
    pub fn source(&self) -> Option<&ImageToImage> {
        match self {
            Self::TextToImage => None,
            Self::ImageToImage(source) | Self::Inpaint(source, _) => Some(source),
        }
    }

    /// What is to be drawn anew.
    pub fn inpaint(&self) -> Option<&Inpaint> {
        match self {
            Self::TextToImage | Self::ImageToImage(_) => None,
            Self::Inpaint(_, inpaint) => Some(inpaint),
        }
    }
}

/// A picture to start from.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageToImage {
    pub picture: Arc<RgbImage>,
    /// From 0 to 1: the share of the steps that is taken, from the noise level where they begin. In f64,
    /// for `0.7 · 10` steps must be seven.
    pub strength: f64,
    pub resize: Resize,
}

/// How a picture of another size is brought to the request's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    Picture(ResizeMode),
    /// The latent, not the picture, is stretched; the picture's sides must be multiples of 8.
    Latent,
}

impl Default for Resize {
    fn default() -> Self {
        Self::Picture(ResizeMode::JustResize)
    }
}

/// What is drawn anew, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Inpaint {
    /// Of the picture's size: 255 is drawn anew, 0 is kept. In the latent every value between counts as
    /// the nearer of the two; in the pixels it is a mixture.
    pub mask: Arc<GrayImage>,
    /// Standard deviation in pixels, 0 to 64; softens the mask's edge.
    pub mask_blur: u32,
    pub fill: Fill,
    pub area: Area,
    /// Draw what the mask leaves out instead.
    pub inverted: bool,
}

/// What stands under the mask before the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fill {
    /// Colours from around the mask.
    Fill,
    /// What the picture shows.
    #[default]
    Original,
    /// Noise in the latent.
    LatentNoise,
    /// Zeros in the latent.
    LatentNothing,
}

/// Which part of the picture the model sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Area {
    #[default]
    WholePicture,
    /// The mask's surroundings, enlarged to the request's size; the result is pasted back.
    OnlyMasked {
        /// Pixels around the mask, 0 to 256.
        padding: u32,
    },
}
