//! The autoencoder of SD 1.x, named and behaving as diffusers' `AutoencoderKL`.

mod blocks;
mod decoder;
mod encoder;
mod model;

pub use model::{Vae, VaeError};
