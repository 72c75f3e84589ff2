//! Adam with decoupled weight decay (Loshchilov and Hutter 2019).
//!
//! Facts: torch's `torch/optim/adamw.py` and `adam.py` (`_single_tensor_adam`): the order of the operations.

use super::dynamic_map::BLOCK;
use super::moments::Moments;

/// Settings of AdamW; the defaults are torch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Share of the old mean of gradients, 0 to below 1.
    pub beta1: f64,
    /// Share of the old mean of squared gradients, 0 to below 1.
    pub beta2: f64,
    pub epsilon: f64,
    /// Share of a value that is taken away in each step, times the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 1e-2 }
    }
}

impl AdamW {
    /// Step number `step`, from 1, of one variable.
    pub(super) fn update(
        &self,
        (first, second): (&mut Moments, &mut Moments),
        step: u64,
        learning_rate: f64,
        values: &mut [f32],
        gradient: &[f32],
    ) {
        let exponent = i32::try_from(step).unwrap_or(i32::MAX);
        let correction1 = 1.0 - self.beta1.powi(exponent);
        let root_correction2 = (1.0 - self.beta2.powi(exponent)).sqrt() as f32;
        let step_size = (learning_rate / correction1) as f32;
        let kept = (1.0 - learning_rate * self.weight_decay) as f32;
        let (lerp, beta2, rest2) = ((1.0 - self.beta1) as f32, self.beta2 as f32, (1.0 - self.beta2) as f32);
        let epsilon = self.epsilon as f32;
        let (mut m, mut v) = ([0.0_f32; BLOCK], [0.0_f32; BLOCK]);
        for (block, (values, gradient)) in values.chunks_mut(BLOCK).zip(gradient.chunks(BLOCK)).enumerate() {
            first.read(block, &mut m[..values.len()]);
            second.read(block, &mut v[..values.len()]);
            for (i, (value, g)) in values.iter_mut().zip(gradient).enumerate() {
                m[i] += (g - m[i]) * lerp;
                v[i] = v[i] * beta2 + rest2 * (g * g);
                let root = v[i].sqrt() / root_correction2 + epsilon;
                *value = *value * kept - step_size * (m[i] / root);
            }
            first.write(block, &m[..values.len()]);
            second.write(block, &v[..values.len()]);
        }
    }
}
