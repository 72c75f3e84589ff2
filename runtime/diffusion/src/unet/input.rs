//! What the UNet is given for one prediction.

use candle_core::Tensor;

/// One forward pass; every tensor has the same batch.
#[derive(Debug, Clone, Copy)]
pub struct UnetInput<'a> {
    /// `[batch, in_channels, h, w]`, scaled by c_in; inpainting and instruct-pix2pix models read their
    /// further channels behind the latent's.
    pub x: &'a Tensor,
    /// `[batch]` f32; each sample may have its own, fractional ones too.
    pub timesteps: &'a Tensor,
    /// `[batch, tokens, width]`.
    pub context: &'a Tensor,
    /// `[batch, n]`: pooled text and micro-conditioning, which SDXL models read besides the context.
    pub added: Option<&'a Tensor>,
    /// `[batch, n]` of [`guidance_embedding`](super::guidance_embedding), which only LCM models read;
    /// `None` leaves it out.
    pub guidance: Option<&'a Tensor>,
    /// What ControlNets add.
    pub control: Option<&'a ControlResiduals>,
}

impl<'a> UnetInput<'a> {
    /// A pass without anything that only some models read.
    pub fn new(x: &'a Tensor, timesteps: &'a Tensor, context: &'a Tensor) -> Self {
        Self { x, timesteps, context, added: None, guidance: None, control: None }
    }
}

/// Added to what the way down keeps for the way up, in its order, and to the middle block's output.
#[derive(Debug, Clone)]
pub struct ControlResiduals {
    /// As many as the way down keeps, each of the shape of its skip.
    pub down: Vec<Tensor>,
    pub mid: Tensor,
}
