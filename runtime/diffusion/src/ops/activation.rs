//! Pointwise functions and softmax.

use candle_core::{D, Result, Tensor};

/// x·σ(x).
pub fn silu(x: &Tensor) -> Result<Tensor> {
    x.silu()
}

/// The exact GELU, by the error function: what torch's `gelu` is without `approximate="tanh"`.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}

/// x·σ(1.702·x): the activation of OpenAI's CLIP.
pub fn quick_gelu(x: &Tensor) -> Result<Tensor> {
    x * candle_nn::ops::sigmoid(&(x * 1.702)?)?
}

/// Halves the last dimension: the first half times the GELU of the second.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let value = x.narrow(D::Minus1, 0, half)?;
    let gate = x.narrow(D::Minus1, half, half)?;
    value * gelu(&gate.contiguous()?)?
}

/// Softmax over the last dimension.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    if x.track_op() { candle_nn::ops::softmax(x, D::Minus1) } else { candle_nn::ops::softmax_last_dim(x) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn gelu_is_the_exact_one() {
        let x = Tensor::new(&[-3.0_f32, -0.5, 0.0, 1.0, 2.5], &Device::Cpu).unwrap();
        // x·Φ(x), computed to twelve digits elsewhere.
        let want: [f64; 5] = [-0.004049694, -0.154268769, 0.0, 0.841344746, 2.484475834];
        for (got, want) in gelu(&x).unwrap().to_vec1::<f32>().unwrap().iter().zip(want) {
            assert!((f64::from(*got) - want).abs() < 2e-7, "{got} {want}");
        }
    }

    #[test]
    fn softmax_keeps_its_gradient() {
        let x = Var::new(&[[0.5_f32, -1.0, 2.0]], &Device::Cpu).unwrap();
        let first = softmax(x.as_tensor()).unwrap().narrow(1, 0, 1).unwrap();
        let grads = first.sum_all().unwrap().backward().unwrap();
        let grad = grads.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let p = softmax(&x.as_tensor().detach()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (i, g) in grad.iter().enumerate() {
            let want = if i == 0 { p[0] * (1.0 - p[0]) } else { -p[0] * p[i] };
            assert!((g - want).abs() < 1e-6, "{i}: {g} {want}");
        }
    }
}
