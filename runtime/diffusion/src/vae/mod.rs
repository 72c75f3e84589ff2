//! The autoencoder of SD 1.x, SD 2.x and SDXL, named and behaving as diffusers' `AutoencoderKL`, and the
//! tiny one for previews.

mod blocks;
mod decoder;
mod encoder;
mod model;
mod tiny;

pub use model::{Vae, VaeError};
pub use tiny::TinyVae;
