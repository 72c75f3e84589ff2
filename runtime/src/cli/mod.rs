//! The command line.

mod args;
mod bar;
mod generate;
mod inspect;
mod logging;
mod run;
mod train;

pub use args::{Cli, Command, InspectArgs, InspectFormat, LogFormat, Logging};
pub use generate::GenerateArgs;
pub use run::main;
pub use train::TrainArgs;
