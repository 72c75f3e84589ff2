//! The shape of each network, read from the tensors and, for folders, from `config.json`.

mod clip;
mod error;
mod json;
mod unet;
mod vae;

pub use clip::{ClipActivation, ClipConfig, ClipOrigin};
pub use error::ConfigError;
pub use unet::{ModelVariant, UnetConfig};
pub use vae::{SD_SCALE, SDXL_SCALE, VaeConfig};
