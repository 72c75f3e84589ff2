//! Settings of `import`: flags, each with its environment variable.

use std::path::PathBuf;

use clap::Args;
use url::Url;

use crate::fetch::{CONNECTIONS, PART_BYTES};
use crate::net::AddressPolicy;

#[derive(Debug, Clone, Args)]
pub struct ImportConfig {
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
    /// Directory for files under way; needs room for the largest of them
    #[arg(long, env = "EASEL_WORK_DIR", value_name = "DIR", default_value = "/work")]
    pub work_dir: PathBuf,
    /// Where the Model's volume is mounted, if its source is one
    #[arg(long, env = "EASEL_VOLUME_DIR", value_name = "DIR", default_value = "/volume")]
    pub volume_dir: PathBuf,
    /// Networks, separated by commas, that addresses named by users may reach besides public ones
    #[arg(long, env = "EASEL_ALLOWED_CIDRS", value_name = "CIDRS", default_value = "")]
    pub allowed_cidrs: AddressPolicy,
    /// Seconds of silence after which a transfer counts as broken
    #[arg(long, env = "EASEL_STALL_SECONDS", value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=600))]
    pub stall_seconds: u64,
    /// Repetitions in a row that bring no new byte before a transfer fails
    #[arg(long, env = "EASEL_FETCH_RETRIES", value_name = "COUNT", default_value_t = 5)]
    pub fetch_retries: u32,
    /// Connections that a transfer uses at a time, where the server can be asked for parts of a file
    #[arg(long, env = "EASEL_FETCH_CONNECTIONS", value_name = "COUNT", default_value_t = CONNECTIONS as u64,
          value_parser = clap::value_parser!(u64).range(1..=16))]
    pub fetch_connections: u64,
    /// Bytes of a part; what is lost of a killed transfer is at most one part per connection
    #[arg(long, env = "EASEL_FETCH_PART_BYTES", value_name = "BYTES", default_value_t = PART_BYTES,
          value_parser = clap::value_parser!(u64).range(65_536..))]
    pub fetch_part_bytes: u64,
    /// Where to leave the result
    #[arg(long, env = "EASEL_TERMINATION_LOG", value_name = "FILE", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
}
