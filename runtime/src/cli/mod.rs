//! The command line.

mod args;
mod bar;
mod convert;
mod generate;
mod inspect;
mod jobs;
mod logging;
mod merge;
mod run;
mod train;

pub use args::{Cli, Command, InspectArgs, InspectFormat, LogFormat, Logging};
pub use convert::ConvertArgs;
pub use generate::GenerateArgs;
pub use merge::{MergeArgs, MergeMethod, MergePrecision};
pub use run::main;
pub use train::TrainArgs;
