//! How networks are built from weights: adapters patch single tensors, tiling changes the padding.
//!
//! Networks are immutable. A patched tensor is a new one, an unpatched one is shared with every other
//! network of the same weights, so building a variant is cheap and giving it up restores nothing: the base
//! was never touched.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use candle_core::Tensor;

use super::params::WeightError;
use super::side::SidePath;

/// What a convolution sees beyond the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Padding {
    #[default]
    Zeros,
    /// The opposite edge: pictures that tile without a seam.
    Circular,
}

/// Changes weights on their way into a network.
pub trait WeightPatch: Send + Sync + fmt::Debug {
    /// What to use instead of `base`, which is the tensor `name` (absolute: `unet.conv_in.weight`), of the
    /// same shape; `None` leaves it as it is.
    ///
    /// # Errors
    /// The patch does not fit the tensor.
    fn apply(&self, name: &str, base: &Tensor) -> Result<Option<Tensor>, WeightError>;
}

/// Changes what attention makes keys and values of.
pub trait ContextPatch: Send + Sync + fmt::Debug {
    /// What to use instead of `keys` and `values`, both `[batch, tokens, width]` and at first the same;
    /// `None` leaves them. One batch item's result must not depend on the others.
    ///
    /// # Errors
    /// The arithmetic failed.
    fn apply(&self, keys: &Tensor, values: &Tensor) -> candle_core::Result<Option<(Tensor, Tensor)>>;
}

/// Everything that a build may do differently from the files.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// Applied one after the other.
    pub patches: Vec<Arc<dyn WeightPatch>>,
    /// Applied one after the other in every attention of the UNet: hypernetworks.
    pub contexts: Vec<Arc<dyn ContextPatch>>,
    pub padding: Padding,
    /// Used in place of the files' own, by absolute name; not patched: what is trained as a whole.
    pub given: Arc<BTreeMap<String, Tensor>>,
    /// Paths beside layers, by the layer's absolute name: adapters in training.
    pub sides: Arc<BTreeMap<String, SidePath>>,
}

impl BuildOptions {
    /// `base` with every patch applied.
    pub(super) fn patched(&self, name: &str, base: Tensor) -> Result<Tensor, WeightError> {
        let mut tensor = base;
        for patch in &self.patches {
            if let Some(changed) = patch.apply(name, &tensor)? {
                tensor = changed;
            }
        }
        Ok(tensor)
    }
}
