//! Settings of `serve`: flags, each with its environment variable.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use url::Url;

/// Where the engine computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Device {
    Cpu,
    Cuda,
}

/// Number format of weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Precision {
    /// What the engine is best at on the device.
    Auto,
    F32,
    F16,
    Bf16,
}

#[derive(Debug, Clone, Args)]
pub struct ServeConfig {
    /// The facade's internal address, e.g. http://easel-facade.easel.svc:8081
    #[arg(long, env = "EASEL_FACADE_URL", value_name = "URL")]
    pub facade_url: Url,
    /// The pod's ServiceAccount token for the facade; read anew for every call
    #[arg(
        long,
        env = "EASEL_TOKEN_FILE",
        value_name = "FILE",
        default_value = "/var/run/secrets/easel/token"
    )]
    pub token_file: PathBuf,
    /// Directory of the weight files
    #[arg(long, env = "EASEL_CACHE_DIR", value_name = "DIR", default_value = "/cache")]
    pub cache_dir: PathBuf,
    /// Most bytes of weight files on disk; without it only the disk is the limit
    #[arg(long, env = "EASEL_CACHE_LIMIT_BYTES", value_name = "BYTES")]
    pub cache_limit_bytes: Option<u64>,
    /// Most bytes of weights in memory; default: three quarters of the container's memory
    #[arg(long, env = "EASEL_MEMORY_BUDGET_BYTES", value_name = "BYTES")]
    pub memory_budget_bytes: Option<u64>,
    /// Where to compute
    #[arg(long, env = "EASEL_DEVICE", value_enum, default_value_t = Device::Cpu, ignore_case = true)]
    pub device: Device,
    /// Number format to compute in; on CPUs this engine computes in F32
    #[arg(long, env = "EASEL_PRECISION", value_enum, default_value_t = Precision::Auto, ignore_case = true)]
    pub precision: Precision,
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, env = "EASEL_LISTEN", value_name = "ADDR:PORT", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Name of this pod, for logs
    #[arg(long, env = "EASEL_POD_NAME", value_name = "NAME", default_value = "")]
    pub pod_name: String,
    /// Where to leave the reason of a failure
    #[arg(long, env = "EASEL_TERMINATION_LOG", value_name = "FILE", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
    /// Seconds that a running job gets to finish after SIGTERM; then it is given back. Keep it some seconds below
    /// the pod's terminationGracePeriodSeconds
    #[arg(long, env = "EASEL_GRACE_SECONDS", value_name = "SECONDS", default_value_t = 300)]
    pub grace_seconds: u64,
    /// Seconds that one call for a job waits at the facade
    #[arg(long, env = "EASEL_CLAIM_WAIT_SECONDS", value_name = "SECONDS", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(0..=30))]
    pub claim_wait_seconds: u64,
    /// Threads of the engine; default: the container's CPU quota
    #[arg(long, env = "EASEL_THREADS", value_name = "COUNT")]
    pub threads: Option<NonZeroUsize>,
}
