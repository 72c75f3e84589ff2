//! `easel-runtime train`: one training, from the command line to a file.

mod args;
mod plan;
mod run;

pub use args::TrainArgs;
pub(super) use run::run;
