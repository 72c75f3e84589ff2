//! Changes of spatial size.

use candle_core::{Result, Tensor};

/// Nearest neighbour to exactly `height` x `width`.
pub fn upsample_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (_, _, from_height, from_width) = x.dims4()?;
    if !x.track_op() || (height, width) == (2 * from_height, 2 * from_width) {
        return x.upsample_nearest2d(height, width);
    }
    // candle's backward knows whole factors only, the same in both directions.
    let along = |x: &Tensor, dim: usize, from: usize, to: usize| {
        let indices: Vec<u32> = (0..to).map(|i| (i * from / to.max(1)) as u32).collect();
        x.index_select(&Tensor::from_vec(indices, to, x.device())?, dim)
    };
    along(&along(&x.contiguous()?, 2, from_height, height)?, 3, from_width, width)
}

/// One row of zeros below and one column to the right: (0, 1, 0, 1) in torch's order, which the
/// autoencoder's encoder does before its strided convolutions.
pub fn pad_right_bottom(x: &Tensor) -> Result<Tensor> {
    x.pad_with_zeros(3, 0, 1)?.pad_with_zeros(2, 0, 1)
}

/// `width` rows and columns of the opposite edge on every side: torch's `padding_mode="circular"`. The
/// picture is at least that large.
pub fn pad_circular(x: &Tensor, width: usize) -> Result<Tensor> {
    let mut x = x.clone();
    for dim in [2, 3] {
        let size = x.dim(dim)?;
        let (last, first) = (x.narrow(dim, size - width, width)?, x.narrow(dim, 0, width)?);
        x = Tensor::cat(&[&last, &x, &first], dim)?;
    }
    x.contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn beyond_the_edge_is_the_opposite_edge() {
        let x = Tensor::new(&[[[[1_u32, 2], [3, 4]]]], &Device::Cpu).unwrap();
        let padded = pad_circular(&x, 1).unwrap().squeeze(0).unwrap().squeeze(0).unwrap();
        let want = [[4, 3, 4, 3], [2, 1, 2, 1], [4, 3, 4, 3], [2, 1, 2, 1]];
        assert_eq!(padded.to_vec2::<u32>().unwrap(), want);
    }
}
