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
mod training;

pub use error::{GenerateError, LoadError};
pub use load::{LoadOptions, Pipeline};
pub use networks::Networks;
pub use picture::Picture;
pub use progress::{Progress, Stage};
pub use request::{RequestError, TextToImage};
pub use training::{TimestepSpacing, Training};
