//! Settings of `check-dataset`: flags, each with its environment variable.

use std::path::PathBuf;

use clap::Args;

use crate::facade::FacadeArgs;

#[derive(Debug, Clone, Args)]
pub struct CheckConfig {
    #[command(flatten)]
    pub facade: FacadeArgs,
    /// Name of the Dataset
    #[arg(long, env = "EASEL_DATASET", value_name = "NAME")]
    pub dataset: String,
    /// Directory for the pictures that are being looked at, a few at a time
    #[arg(long, env = "EASEL_WORK_DIR", value_name = "DIR", default_value = "/work")]
    pub work_dir: PathBuf,
    /// Where to leave the result
    #[arg(long, env = "EASEL_TERMINATION_LOG", value_name = "FILE", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
}
