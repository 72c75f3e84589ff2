//! `easel-runtime generate`: one request, from the command line to files.

mod args;
mod files;
mod networks;
mod request;
mod run;

pub use args::GenerateArgs;
pub(super) use run::run;
