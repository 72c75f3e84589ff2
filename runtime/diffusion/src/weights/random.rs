//! Weights that no file holds, for measuring models of real sizes where their files are not at hand.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use candle_core::{Device, Tensor};

use super::params::WeightError;
use super::store::{Place, Weights};

impl Weights {
    /// Every tensor that a network asks for is there, in the shape that it asks for: uniform noise that
    /// keeps the scale of what a layer is given, ones for the scale of norms, zeros for biases. The same
    /// seed makes the same weights if they are asked for in the same order.
    pub fn random(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            files: RwLock::default(),
            places: BTreeMap::new(),
            converted: Mutex::new(HashMap::new()),
            made: Some(Mutex::new(seed | 1)),
        })
    }

    /// The tensors that were made, as if a file had held them and was closed: their names are known, and
    /// no others are made.
    pub(crate) fn settled(&self) -> Arc<Self> {
        let converted = self.converted().clone();
        let place = |(name, tensor): (&String, &Tensor)| (name.clone(), Place::nowhere(name, tensor.dims()));
        Arc::new(Self {
            files: RwLock::default(),
            places: converted.iter().map(place).collect(),
            converted: Mutex::new(converted),
            made: None,
        })
    }

    /// Bytes of all tensors that are held as f32.
    pub fn held_bytes(&self) -> u64 {
        self.converted().values().map(|t| t.elem_count() as u64 * 4).sum()
    }

    /// The tensor of [`Weights::random`]; `None` for weights from files.
    pub(super) fn made(&self, name: &str, shape: &[usize]) -> Option<Result<Tensor, WeightError>> {
        let state = self.made.as_ref()?;
        if let Some(tensor) = self.converted().get(name) {
            return Some(Ok(tensor.clone()));
        }
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let tensor = Tensor::from_vec(values(name, shape, &mut state), shape, &Device::Cpu);
        let tensor = tensor.map_err(|source| WeightError::Tensor { name: name.to_owned(), source });
        if let Ok(tensor) = &tensor {
            self.converted().insert(name.to_owned(), tensor.clone());
        }
        Some(tensor)
    }
}

fn values(name: &str, shape: &[usize], state: &mut u64) -> Vec<f32> {
    let count = shape.iter().product();
    if shape.len() < 2 {
        return vec![if name.ends_with("weight") { 1.0 } else { 0.0 }; count];
    }
    // Uniform values up to √(3/n) have the deviation 1/√n.
    let bound = (3.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
    let mut next = || {
        // Marsaglia's xorshift; its upper 24 bits as a number from -1 to 1.
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next() * bound).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Params;

    #[test]
    fn tensors_have_the_shape_and_scale_that_layers_need() {
        let weights = Weights::random(1);
        let root = Params::new(Arc::clone(&weights));
        let matrix = root.tensor("a.weight", &[64, 300]).unwrap();
        let values = matrix.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let power: f32 = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        assert!((power * 300.0 - 1.0).abs() < 0.05, "{power}");
        assert_eq!(root.tensor("norm.weight", &[3]).unwrap().to_vec1::<f32>().unwrap(), [1.0; 3]);
        assert_eq!(root.tensor("norm.bias", &[3]).unwrap().to_vec1::<f32>().unwrap(), [0.0; 3]);
        let again = root.tensor("a.weight", &[64, 300]).unwrap();
        assert_eq!(again.flatten_all().unwrap().to_vec1::<f32>().unwrap(), values);
        assert_eq!(weights.held_bytes(), (64 * 300 + 6) * 4);
        let settled = weights.settled();
        let shapes: Vec<_> = settled.shapes().collect();
        let want: [(&str, &[usize]); 3] =
            [("a.weight", &[64, 300]), ("norm.bias", &[3]), ("norm.weight", &[3])];
        assert_eq!(shapes, want);
        assert_eq!(settled.tensor("a.weight").unwrap().id(), again.id());
        assert_eq!(Params::new(settled).tensor("b.weight", &[3]).unwrap_err().reason(), "MissingTensor");
    }
}
