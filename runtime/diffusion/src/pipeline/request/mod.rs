//! What can be asked of a model, and its limits.

mod error;
mod hires;
mod limits;
mod mode;
#[expect(clippy::module_inception, reason = "the folder is named after its main type")]
mod request;
mod sampling;

pub use error::RequestError;
pub(super) use hires::HiresPlan;
pub use hires::{Hires, HiresSize, UnknownUpscaler, Upscaler};
pub use mode::{Area, Fill, ImageToImage, Inpaint, Mode, Resize};
pub use request::Request;
pub use sampling::{Churn, Variation};
