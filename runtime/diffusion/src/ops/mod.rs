//! The seam between the models and how a kernel is computed.
//!
//! Models call only these functions and layers. What stands here now is the reference back end: candle's
//! own operations, or compositions of them. A faster kernel replaces a body here and is held to it.
//!
//! Two rules that every body keeps: the result of one batch item does not depend on the others (so a
//! picture is the same alone and in company), and gradients are never silently lost (candle's fused
//! softmax and layer norm have none, so they are taken only where nothing is being trained).
//!
//! Where something is trained, layers compute through [`gradient`], which gives them a backward of their own.

mod activation;
mod attention;
mod conv;
#[cfg(test)]
pub(crate) mod differences;
#[cfg(test)]
mod differences_tests;
mod gradient;
mod linear;
mod norm;
mod resize;

pub use activation::{geglu, gelu, quick_gelu, silu, softmax};
pub use attention::{AttentionShape, MAX_SCORES, attention, attention_sliced};
pub use conv::Conv2d;
pub use linear::Linear;
pub use norm::{GroupNorm, LayerNorm};
pub use resize::{pad_circular, pad_right_bottom, upsample_nearest};
