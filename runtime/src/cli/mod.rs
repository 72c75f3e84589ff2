//! The command line.

mod args;
mod bar;
mod generate;
mod inspect;
mod logging;
mod run;

pub use args::{Cli, Command, GenerateArgs, InspectArgs, InspectFormat, LogFormat, Logging};
pub use run::main;
