//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::convert::ConvertArgs;
use super::generate::GenerateArgs;
use super::merge::MergeArgs;
use super::train::TrainArgs;
use crate::dataset_check::CheckConfig;
use crate::import::ImportConfig;
use crate::trainer::TrainerConfig;
use crate::worker::ServeConfig;

/// Easel's runtime: renders pictures and trains, in a pod or at your desk
#[derive(Debug, Parser)]
#[command(name = "easel-runtime", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub logging: Logging,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit status: 0 success, 2 wrong usage, 65 a failure that comes again with the same input, \
                          75 a failure that may pass, 143 a training that was told to stop.";

#[derive(Debug, Clone, Args)]
pub struct Logging {
    /// What to log, e.g. info or easel_runtime=debug,warn
    #[arg(long = "log", env = "EASEL_LOG", value_name = "FILTER", default_value = "info", global = true)]
    pub filter: String,
    /// How a line of the log looks
    #[arg(long, env = "EASEL_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the jobs of an Endpoint (what its pods run)
    Serve(Box<ServeConfig>),
    /// Bring the files of a Model into the object store (what its import Job runs)
    Import(Box<ImportConfig>),
    /// Run the training of a TrainingJob (what its Job runs)
    RunTraining(Box<TrainerConfig>),
    /// Look at every picture of a Dataset (what its Job runs)
    CheckDataset(Box<CheckConfig>),
    /// Render pictures from a prompt, without any cluster
    Generate(Box<GenerateArgs>),
    /// Train a LoRA, an embedding, a hypernetwork or a model, without any cluster
    Train(Box<TrainArgs>),
    /// Tell what a weight file is, from its header alone
    Inspect(InspectArgs),
    /// Merge two or three checkpoints into one
    Merge(Box<MergeArgs>),
    /// Rewrite a PyTorch checkpoint as safetensors, without running anything in it
    Convert(ConvertArgs),
}

#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// A .safetensors or .ckpt file, or a folder in the layout of diffusers
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// How to print it
    #[arg(long, short, value_enum, default_value_t = InspectFormat::Table)]
    pub output: InspectFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InspectFormat {
    Table,
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
