//! Changes of spatial size.

use candle_core::{Result, Tensor};

/// Nearest neighbour to exactly `height` x `width`.
pub fn upsample_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    x.upsample_nearest2d(height, width)
}

/// One row of zeros below and one column to the right: (0, 1, 0, 1) in torch's order, which the
/// autoencoder's encoder does before its strided convolutions.
pub fn pad_right_bottom(x: &Tensor) -> Result<Tensor> {
    x.pad_with_zeros(3, 0, 1)?.pad_with_zeros(2, 0, 1)
}
