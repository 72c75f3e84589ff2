//! From a picture to a ControlNet's hint, without a network.
//!
//! A preprocessor is a file here and a line in `table.rs`. Names, parameters and ranges are those of the
//! sd-webui-controlnet extension (`scripts/preprocessor/`), so its requests work as they are.

mod canny;
mod error;
mod inpaint;
mod invert;
mod none;
mod preprocessor;
mod scribble_xdog;
mod shuffle;
mod size;
mod table;
mod threshold;
mod tile;

pub use canny::canny;
pub use error::PreprocessError;
pub use preprocessor::{Parameter, Prepared, Preprocessor, Source};
pub use table::{PREPROCESSORS, preprocess, preprocessor};
