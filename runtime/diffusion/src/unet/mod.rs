//! The UNet of SD 1.x, named and behaving as diffusers' `UNet2DConditionModel`.

mod blocks;
mod embedding;
mod input;
mod model;
mod resnet;
mod transformer;

pub use input::{ControlResiduals, UnetInput};
pub use model::Unet;
