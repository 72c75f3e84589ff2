//! What of a model is trained.

use super::full::FullOptions;
use super::hypernetwork::HypernetworkOptions;
use super::inversion::TextualInversionOptions;
use super::lora::LoraOptions;

/// A way to train. DreamBooth is [`Method::Full`] or [`Method::Lora`] with batches of which a part, with a
/// weight of its own, is pictures of the class.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// Two thin matrices beside each layer.
    Lora(LoraOptions),
    /// Vectors in place of a word.
    TextualInversion(TextualInversionOptions),
    /// Small networks through which attention reads its context.
    Hypernetwork(HypernetworkOptions),
    /// The model's own weights.
    Full(FullOptions),
}
