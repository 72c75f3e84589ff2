//! Weight files, safetensors and PyTorch's pickles, read as if an enemy had written them.
//!
//! A file is refused from its header alone ([`Header`]) before a byte of any tensor is touched;
//! only then is it mapped into memory and tensors are copied out of it, one at a time.

mod build;
mod dtype;
mod error;
mod header;
mod mapped;
mod params;
mod pickle;
mod random;
mod side;
mod sniff;
mod store;

pub use build::{BuildOptions, ContextPatch, Padding, WeightPatch};
pub use dtype::Dtype;
pub use error::HeaderError;
pub use header::{Header, MAX_HEADER_BYTES, TensorEntry, required_prefix};
pub use params::{Params, WeightError};
pub use pickle::{PickleError, read_pickle};
pub use side::{Dropout, SidePath};
pub use store::{FileHeader, Weights, WeightsBuilder, read_header};
