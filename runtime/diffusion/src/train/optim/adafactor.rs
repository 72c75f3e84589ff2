//! Adafactor with a given learning rate (Shazeer and Stern 2018): memory for rows and columns alone.
//!
//! Facts: transformers' `optimization.py` (`Adafactor`) with `scale_parameter=False, relative_step=False`.
//! Convolutions are matrices of `[out, in·height·width]` here; there they are many small ones that save nothing.

/// Settings of Adafactor; the defaults are those of transformers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adafactor {
    /// Added to squared gradients.
    pub epsilon: f64,
    /// Largest root mean square of an update before the learning rate.
    pub clip_threshold: f64,
    /// Power of the step number by which the newest gradient's share falls; negative.
    pub decay_rate: f64,
    pub weight_decay: f64,
}

impl Default for Adafactor {
    fn default() -> Self {
        Self { epsilon: 1e-30, clip_threshold: 1.0, decay_rate: -0.8, weight_decay: 0.0 }
    }
}

impl Adafactor {
    /// A step of a variable that is a matrix of rows as long as `columns`.
    pub(super) fn update_matrix(
        &self,
        (rows, columns): (&mut [f32], &mut [f32]),
        step: u64,
        learning_rate: f64,
        values: &mut [f32],
        gradient: &[f32],
    ) {
        let (kept, new) = self.shares(step);
        let (width, height) = (columns.len(), rows.len());
        let mut sums = vec![0.0_f64; width];
        for (row, line) in rows.iter_mut().zip(gradient.chunks_exact(width)) {
            let mut sum = 0.0_f64;
            for (g, column) in line.iter().zip(&mut sums) {
                let square = f64::from(g * g + self.epsilon as f32);
                sum += square;
                *column += square;
            }
            *row = *row * kept + new * (sum / width as f64) as f32;
        }
        for (column, sum) in columns.iter_mut().zip(&sums) {
            *column = *column * kept + new * (sum / height as f64) as f32;
        }
        let mean = (rows.iter().map(|r| f64::from(*r)).sum::<f64>() / height as f64) as f32;
        let across: Vec<f32> = columns.iter().map(|c| 1.0 / c.sqrt()).collect();
        let mut update = Vec::with_capacity(gradient.len());
        for (row, line) in rows.iter().zip(gradient.chunks_exact(width)) {
            let down = 1.0 / (row / mean).sqrt();
            update.extend(line.iter().zip(&across).map(|(g, c)| down * c * g));
        }
        self.apply(update, learning_rate, values);
    }

    /// A step of a variable of one dimension.
    pub(super) fn update_vector(
        &self,
        square: &mut [f32],
        step: u64,
        learning_rate: f64,
        values: &mut [f32],
        gradient: &[f32],
    ) {
        let (kept, new) = self.shares(step);
        let mut update = Vec::with_capacity(gradient.len());
        for (s, g) in square.iter_mut().zip(gradient) {
            *s = *s * kept + new * (g * g + self.epsilon as f32);
            update.push(1.0 / s.sqrt() * g);
        }
        self.apply(update, learning_rate, values);
    }

    fn shares(&self, step: u64) -> (f32, f32) {
        let kept = 1.0 - (step as f64).powf(self.decay_rate);
        (kept as f32, (1.0 - kept) as f32)
    }

    fn apply(&self, mut update: Vec<f32>, learning_rate: f64, values: &mut [f32]) {
        let power: f64 = update.iter().map(|u| f64::from(*u).powi(2)).sum();
        let rms = (power / update.len().max(1) as f64).sqrt() as f32;
        let shrink = (rms / self.clip_threshold as f32).max(1.0);
        let rate = learning_rate as f32;
        let decay = (self.weight_decay * learning_rate) as f32;
        for (value, u) in values.iter_mut().zip(&mut update) {
            let u = *u / shrink * rate;
            if self.weight_decay != 0.0 {
                *value -= decay * *value;
            }
            *value -= u;
        }
    }
}
