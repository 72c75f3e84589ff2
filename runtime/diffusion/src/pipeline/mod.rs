//! A loaded model and what can be asked of it.

mod error;
mod generate;
mod guidance;
mod load;
mod memory;
mod networks;
mod open;
mod picture;
mod probe;
mod progress;
mod request;
mod separate_vae;
mod training;
mod variants;

pub use error::{GenerateError, LoadError};
pub use load::{LoadOptions, Pipeline};
pub use networks::Networks;
pub use picture::Picture;
pub use progress::{Progress, Stage};
pub use request::{RequestError, TextToImage};
pub use separate_vae::{SeparateVae, VaeFileError};
pub use training::{TimestepSpacing, Training};
pub use variants::{AdapterUse, HypernetworkUse, VariantError, VariantKey};
