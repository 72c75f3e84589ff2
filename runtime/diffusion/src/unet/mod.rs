//! The UNet of SD 1.x, SD 2.x and SDXL, named and behaving as diffusers' `UNet2DConditionModel`.

mod blocks;
mod embedding;
mod encoder;
mod input;
mod model;
mod resnet;
mod transformer;

pub(crate) use embedding::TIME_ID_WIDTH;
pub use embedding::{added_embedding, guidance_embedding};
pub(crate) use encoder::{Encoder, skip_channels};
pub use input::{ControlResiduals, UnetInput};
pub use model::Unet;
