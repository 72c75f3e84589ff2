//! Operations on pictures, masks and latents, as the libraries under common web UIs compute them.
//!
//! Pure functions on buffers. Eight-bit results equal Pillow's and OpenCV's bit for bit, since a mask or
//! an initial picture that is off by one is another picture after thirty steps.

mod alpha;
mod area;
mod blur;
mod box_blur;
mod cubic;
mod error;
mod fill;
mod filter;
mod fit;
mod latent;
mod region;
mod resample;

pub use alpha::alpha_composite;
pub use area::resize_area;
pub use blur::{blur_plane, gaussian_blur};
pub use cubic::resize_cubic;
pub(crate) use cubic::resize_cubic_plane;
pub use error::{MAX_PIXELS, MAX_SIDE, RasterError};
pub(crate) use error::{check_mask, check_size};
pub use fill::fill_masked;
pub use filter::Filter;
pub use fit::{ResizeMode, UnknownResizeMode, fit};
pub use latent::{LatentFilter, UnknownLatentFilter, resize_latent};
pub use region::{Region, crop, crop_region, expand_region, invert};
pub use resample::resize;
