//! Inpainting with a model that knows nothing of masks.

use candle_core::{Result, Tensor};

/// Keeps what is not masked: A1111's `CFGDenoiser`, `apply_blend`.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Blend {
    /// The picture's latent, `[batch, channels, h, w]` or with a batch of one.
    pub init: Tensor,
    /// `[1, 1, h, w]`: 1 where the picture is drawn anew, 0 where it stays.
    pub mask: Tensor,
}

impl Blend {
    /// `x` under the mask, the picture elsewhere.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let kept = self.mask.affine(-1.0, 1.0)?;
        x.broadcast_mul(&self.mask)?.broadcast_add(&self.init.broadcast_mul(&kept)?)
    }
}
