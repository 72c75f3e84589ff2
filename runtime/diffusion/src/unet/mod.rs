//! The UNet of SD 1.x, SD 2.x and SDXL, named and behaving as diffusers' `UNet2DConditionModel`.

mod blocks;
mod embedding;
mod encoder;
mod input;
mod model;
mod resnet;
mod transformer;
mod walk;

pub(crate) use embedding::TIME_ID_WIDTH;
pub use embedding::{added_embedding, guidance_embedding};
pub(crate) use encoder::{Encoder, skip_channels};
pub use input::{ControlResiduals, UnetInput};
pub use model::Unet;
pub(crate) use walk::{Direct, Walk};

#[cfg(test)]
mod tests {
    use crate::config::UnetConfig;

    /// A shape for blocks by themselves.
    pub(super) fn small() -> UnetConfig {
        UnetConfig {
            in_channels: 4,
            out_channels: 4,
            channels: vec![8, 12],
            layers: 1,
            depth: vec![1, 0],
            heads: vec![2, 2],
            context: 6,
            time_channels: 16,
            norm_groups: 4,
            norm_eps: 1e-5,
            linear_projection: false,
            added: None,
            guidance: None,
        }
    }
}
