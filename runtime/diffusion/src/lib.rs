//! A Stable Diffusion engine for SD 1.x, SD 2.x and SDXL: weights in, pictures out.
//!
//! [`inspect()`] tells what a file is from its header. [`Pipeline::load`] reads a single-file checkpoint
//! or a diffusers folder, [`Pipeline::generate`] makes pictures. All networks are this crate's own and
//! held to golden tensors of the reference (`tests/golden`); every one of them computes through
//! [`ops`], whose reference back end is candle on the CPU.
//!
//! There is no network or environment in here, and no clock but for a [`Batcher`]'s patience; files are the
//! only input and output, and every file is taken for hostile until its header is checked.

pub mod adapters;
pub mod config;
pub mod control;
pub mod inspect;
pub mod layout;
pub mod merge;
pub mod ops;
pub mod output;
pub mod pipeline;
pub mod random;
pub mod raster;
pub mod samplers;
pub mod schedule;
pub mod text;
pub mod train;
pub mod unet;
pub mod vae;
pub mod weights;

pub use inspect::{
    About, AdapterFacts, Family, InspectError, Inspection, Kind, Network, Precision, PredictionType,
    Thumbnail, header_len, inspect, inspect_header,
};
pub use output::{EncodeError, jpeg, png};
pub use pipeline::{
    Area, Batcher, BatcherStats, Churn, Credited, Fill, GenerateError, Hires, HiresSize, ImageToImage,
    Inpaint, Library, LoadError, LoadOptions, Mode, Observer, Picture, Pipeline, Progress, Request,
    RequestError, Resize, Size, Stage, Surroundings, UnknownUpscaler, Upscaler, Variation,
};
pub use samplers::{Sampler, UnknownSampler};
pub use schedule::{Schedule, UnknownSchedule};
pub use weights::HeaderError;
