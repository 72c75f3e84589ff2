//! Weight files, safetensors and PyTorch's pickles, read as if an enemy had written them.
//!
//! A file is refused from its header alone ([`Header`]) before a byte of any tensor is touched;
//! only then is it mapped into memory and tensors are copied out of it, one at a time.

mod build;
mod convert;
mod dtype;
mod error;
mod header;
mod mapped;
mod params;
mod pickle;
mod random;
mod read;
mod safetensors;
mod side;
mod sniff;
mod store;

pub use build::{BuildOptions, ContextPatch, Padding, WeightPatch};
pub use convert::{ConvertError, ConvertLimits, Converted, convert, convert_observed};
pub use dtype::Dtype;
pub use error::HeaderError;
pub use header::{Header, MAX_HEADER_BYTES, TensorEntry, required_prefix};
pub use params::{Params, WeightError};
pub use pickle::{PickleError, read_pickle};
pub(crate) use read::TensorReader;
pub use safetensors::WriteError;
pub(crate) use safetensors::{Outline, SafetensorsWriter, hex, in_file_order};
pub use side::{Dropout, SidePath};
pub use store::{FileHeader, Weights, WeightsBuilder, read_header};
