//! Settings of `run-training`: flags, each with its environment variable.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use crate::facade::FacadeArgs;

#[derive(Debug, Clone, Args)]
pub struct TrainerConfig {
    #[command(flatten)]
    pub facade: FacadeArgs,
    /// Directory for everything under way: pictures, checkpoints, the result
    #[arg(long, env = "EASEL_WORK_DIR", value_name = "DIR", default_value = "/work")]
    pub work_dir: PathBuf,
    /// Directory of weight files, which pods may share; default: one in the working directory
    #[arg(long, env = "EASEL_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Most bytes of weight files there; without it only the disk is the limit
    #[arg(long, env = "EASEL_CACHE_LIMIT_BYTES", value_name = "BYTES")]
    pub cache_limit_bytes: Option<u64>,
    /// Threads of the engine; default: the container's CPU quota
    #[arg(long, env = "EASEL_THREADS", value_name = "COUNT")]
    pub threads: Option<NonZeroUsize>,
    /// Seconds after SIGTERM in which the running step ends and its state is stored. Keep it some seconds below the
    /// pod's terminationGracePeriodSeconds
    #[arg(long, env = "EASEL_GRACE_SECONDS", value_name = "SECONDS", default_value_t = 110)]
    pub grace_seconds: u64,
    /// Where to leave the result
    #[arg(long, env = "EASEL_TERMINATION_LOG", value_name = "FILE", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
}
