//! What can be said on the command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::import::ImportConfig;
use crate::worker::ServeConfig;

/// Easel's runtime: renders pictures, in a pod or at your desk
#[derive(Debug, Parser)]
#[command(name = "easel-runtime", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub logging: Logging,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit status: 0 success, 2 wrong usage, 65 a failure that comes again with the same input, \
                          75 a failure that may pass.";

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
    /// Render pictures from a prompt, without any cluster
    Generate(Box<GenerateArgs>),
    /// Tell what a weight file is, from its header alone
    Inspect(InspectArgs),
}

#[derive(Debug, Clone, Args)]
pub struct GenerateArgs {
    /// Checkpoint: a .safetensors file, or a folder in the layout of diffusers
    #[arg(long, short, value_name = "PATH")]
    pub model: PathBuf,
    /// What to render; A1111 prompt grammar, e.g. "a (red:1.2) circle"
    #[arg(long, short)]
    pub prompt: String,
    /// What to keep away from
    #[arg(long, short, value_name = "PROMPT", default_value = "")]
    pub negative_prompt: String,
    /// Pixels, a multiple of 8
    #[arg(long, default_value_t = 512)]
    pub width: u32,
    /// Pixels, a multiple of 8
    #[arg(long, default_value_t = 512)]
    pub height: u32,
    /// Sampling steps
    #[arg(long, default_value_t = 20)]
    pub steps: u32,
    /// Guidance scale; 1 ignores the negative prompt and takes half the time
    #[arg(long, value_name = "SCALE", default_value_t = 7.0)]
    pub cfg: f64,
    /// "Euler a", "Euler", "DPM++ 2M", "DPM++ 2M Karras", "DDIM", or a diffusers class name
    #[arg(long, value_name = "NAME", default_value = "Euler a")]
    pub sampler: String,
    /// Seed of the first picture; the same seed gives the same picture. Default: drawn, and shown
    #[arg(long)]
    pub seed: Option<u64>,
    /// Pictures rendered together
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub batch_size: u32,
    /// Batches rendered one after the other
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub batch_count: u32,
    /// 1 = the text encoder's last layer
    #[arg(long, value_name = "LAYER", default_value_t = 1)]
    pub clip_skip: u32,
    /// Noise of DDIM and the ancestral samplers, 0 to 1; default: the sampler's own
    #[arg(long)]
    pub eta: Option<f64>,
    /// File to write, .png or .jpg; several pictures become x-1.png, x-2.png, ...
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
    /// Threads; default: the CPUs that this process may use
    #[arg(long, env = "EASEL_THREADS", value_name = "COUNT")]
    pub threads: Option<NonZeroUsize>,
}

#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// A .safetensors file, or a folder in the layout of diffusers
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
