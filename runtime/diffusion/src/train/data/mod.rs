//! From folders of pictures to what a step is shown.
//!
//! Everything random is a function of the seed, the step and the place in the batch ([`Draw`]), so a run that
//! goes on after an interruption needs no generator's state. Every picture and caption is taken for hostile.

mod bucket;
mod cache;
mod caption;
mod concept;
mod dataset;
mod digest;
mod draw;
mod error;
mod picture;
mod plan;

pub use bucket::{BucketOptions, Buckets, Frame};
pub use cache::LatentCache;
pub use caption::{CaptionOptions, MAX_CAPTION_BYTES};
pub use concept::{Concept, Role};
pub use dataset::{Dataset, DatasetOptions, Duplicate, Item, Sample};
pub use digest::digest_of;
pub(crate) use digest::hex;
pub use draw::{Draw, Stream};
pub use error::DataError;
pub use picture::{Crop, MAX_FILE_BYTES, Placed, look_at};
