//! A loaded model and what can be asked of it.

mod error;
mod generate;
mod guidance;
mod load;
mod memory;
mod networks;
mod picture;
mod progress;
mod request;

pub use error::{GenerateError, LoadError};
pub use load::{LoadOptions, Pipeline};
pub use networks::Networks;
pub use picture::Picture;
pub use progress::{Progress, Stage};
pub use request::{RequestError, TextToImage};
