//! A loaded model and what can be asked of it.

mod batching;
mod check;
mod error;
mod generate;
mod guidance;
mod hires;
mod library;
mod load;
mod memory;
mod networks;
mod open;
mod pass;
mod picture;
mod preview;
mod probe;
mod progress;
mod prompts;
mod request;
mod separate_vae;
mod sized;
mod source;
mod training;
mod variants;

pub use batching::{Batcher, BatcherStats};
pub use error::{GenerateError, LoadError};
pub use generate::Surroundings;
pub use library::{Credited, Library};
pub use load::{LoadOptions, Pipeline};
pub use networks::Networks;
pub use picture::Picture;
pub use progress::{Observer, Progress, Stage};
pub use request::{
    Area, Churn, Fill, Hires, HiresSize, ImageToImage, Inpaint, Mode, Request, RequestError, Resize,
    UnknownUpscaler, Upscaler, Variation,
};
pub use separate_vae::{SeparateVae, VaeFileError};
pub use sized::Size;
pub use training::{TimestepSpacing, Training};
pub use variants::{AdapterUse, HypernetworkUse, VariantError, VariantKey};
