//! Several predictions made one: classifier-free guidance.

use candle_core::{Result, Tensor};

use super::rescale::rescale;

/// How predictions are weighted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::pipeline) struct Guidance {
    pub scale: f64,
    /// Of instruct-pix2pix models.
    pub image_scale: f64,
    /// 0 leaves the deviation as it is.
    pub rescale: f64,
}

/// Predictions of one evaluation.
pub(super) struct Predictions {
    /// One for each part of the prompt, with its weight; at least one.
    pub conds: Vec<(Tensor, f64)>,
    /// Absent where it has no weight.
    pub uncond: Option<Tensor>,
    /// Of instruct-pix2pix models: without text and without the picture.
    pub blind: Option<Tensor>,
}

impl Guidance {
    /// Does one prediction say all? Guidance of 1 takes the unconditional one out of the sum.
    pub(super) fn is_plain(&self, weights: &[f64]) -> bool {
        self.scale == 1.0 && weights == [1.0]
    }

    /// uncond + Σ weight · scale · (cond - uncond); instruct-pix2pix has a second term, for the picture
    /// (Brooks et al. 2023, equation 3).
    pub(super) fn combine(&self, p: &Predictions) -> Result<Tensor> {
        let Some(uncond) = &p.uncond else {
            return Ok(p.conds[0].0.clone());
        };
        let towards = |scale: f64| -> Result<Tensor> {
            p.conds
                .iter()
                .try_fold(uncond.clone(), |sum, (cond, weight)| sum + ((cond - uncond)? * (weight * scale))?)
        };
        let guided = match &p.blind {
            None => towards(self.scale)?,
            Some(blind) => {
                let text = (towards(self.scale)? - uncond)?;
                ((blind + text)? + ((uncond - blind)? * self.image_scale)?)?
            }
        };
        if self.rescale == 0.0 { Ok(guided) } else { rescale(&guided, &towards(1.0)?, self.rescale) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn one(value: f32) -> Tensor {
        Tensor::full(value, (1, 1, 1, 1), &Device::Cpu).unwrap()
    }

    #[test]
    fn parts_and_pictures_are_weighted() {
        let guidance = Guidance { scale: 2.0, image_scale: 3.0, rescale: 0.0 };
        let value = |p: &Predictions| {
            guidance.combine(p).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()[0]
        };
        let conds = vec![(one(5.0), 1.0), (one(3.0), 0.5)];
        let two = Predictions { conds, uncond: Some(one(1.0)), blind: None };
        assert_eq!(value(&two), 1.0 + 2.0 * 4.0 + 2.0 * 0.5 * 2.0);
        let edit =
            Predictions { conds: vec![(one(5.0), 1.0)], uncond: Some(one(2.0)), blind: Some(one(1.0)) };
        assert_eq!(value(&edit), 1.0 + 2.0 * 3.0 + 3.0 * 1.0);
        let alone = Predictions { conds: vec![(one(5.0), 1.0)], uncond: None, blind: None };
        assert_eq!(value(&alone), 5.0);
        assert!(Guidance { scale: 1.0, ..guidance }.is_plain(&[1.0]));
        assert!(!Guidance { scale: 1.0, ..guidance }.is_plain(&[1.0, 0.5]));
    }
}
