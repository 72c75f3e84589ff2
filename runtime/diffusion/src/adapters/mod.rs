//! Adapters: small files that change a model's weights, and hypernetworks, which change what attention
//! reads.
//!
//! An [`Adapter`] is what a file holds, an adapter [fitted](Adapter::fit) to a model is checked against
//! every tensor it changes, and a [`WeightPatch`](crate::weights::WeightPatch) made of it at two weights
//! goes into the build of networks. The model's own weights are never written, so taking an adapter away
//! is using the networks without it.

mod activation;
mod delta;
mod error;
mod factors;
mod fit;
mod gather;
mod hypernetwork;
mod keys;
mod load;
mod names;
mod peft;

pub(crate) use activation::Activation;
pub use error::{AdapterError, Misfit};
pub use fit::FittedAdapter;
pub use hypernetwork::{Hypernetwork, HypernetworkError};
pub(crate) use hypernetwork::{Layer as HyperLayer, Network as HyperNetwork};
pub use load::Adapter;
pub(crate) use load::Identity;
pub(crate) use names::Blocks as UnetBlocks;
pub use names::{Component, ModelNames};
