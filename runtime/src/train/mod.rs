//! Training as a whole: from files to a file, with class pictures, checkpoints and sample pictures.
//!
//! The mathematics and the loop are the engine's (`easel_diffusion::train`); this is what the command line and
//! the Job of a TrainingJob have in common. No network in here.

mod base;
mod choices;
mod class;
mod error;
mod event;
mod flow;
mod metadata;
mod plan;
mod samples;
mod speed;

pub use choices::algorithm;
pub use error::TrainFailure;
pub use event::{Event, Listener};
pub use flow::{Trained, train};
pub use plan::{ClassPictures, DRAWING_GUIDANCE, DRAWING_SAMPLER, DRAWING_STEPS, SamplePlan, TrainPlan};
pub use speed::{Pace, Speed};
