//! Gradient descent with momentum: torch's `torch/optim/sgd.py`.

/// Settings of SGD; the defaults are torch's.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sgd {
    /// Share of the last update that is kept, 0 to below 1.
    pub momentum: f64,
    /// Times the value, added to its gradient.
    pub weight_decay: f64,
}

impl Sgd {
    /// A step; `buffer` is empty without momentum.
    pub(super) fn update(
        &self,
        buffer: &mut [f32],
        learning_rate: f64,
        values: &mut [f32],
        gradient: &[f32],
    ) {
        let (decay, momentum, rate) = (self.weight_decay as f32, self.momentum as f32, learning_rate as f32);
        for (i, (value, g)) in values.iter_mut().zip(gradient).enumerate() {
            let mut g = g + decay * *value;
            if let Some(kept) = buffer.get_mut(i) {
                // The first step keeps the gradient whole, as adding it to a buffer of zeros does.
                *kept = *kept * momentum + g;
                g = *kept;
            }
            *value -= rate * g;
        }
    }
}
