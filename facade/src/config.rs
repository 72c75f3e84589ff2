//! The process' settings: flags, each with an environment variable. What they mean to an operator of the
//! system is in the Helm chart's values; here they are only parsed and checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use secrecy::SecretString;
use url::Url;

/// `easel-facade`: the REST API, the job queue and the worker protocol.
#[derive(Clone, Debug, Parser)]
#[command(name = "easel-facade", version, about)]
pub struct Config {
    /// Address of the public API.
    #[arg(long, env = "EASEL_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Address of the worker protocol, the metrics and the health routes; never to be exposed.
    #[arg(long, env = "EASEL_INTERNAL_LISTEN", default_value = "0.0.0.0:8081")]
    pub internal_listen: SocketAddr,
    /// `sqlite:///path/jobs.db` or `postgres://user:password@host/database`.
    #[arg(
        long,
        env = "EASEL_DATABASE_URL",
        default_value = "sqlite:///data/jobs.db",
        hide_env_values = true
    )]
    pub database_url: SecretString,
    /// Directory of the embedded object store and its credentials.
    #[arg(long, env = "EASEL_DATA_DIR", default_value = "/data")]
    pub data_dir: PathBuf,
    /// Address under which clients reach the public API. Unset: taken from each request's `Host`.
    #[arg(long, env = "EASEL_PUBLIC_URL", value_parser = parse_base)]
    pub public_url: Option<Url>,
    /// Believe `X-Forwarded-Host` and `X-Forwarded-Proto`; only behind a proxy that sets them.
    #[arg(long, env = "EASEL_TRUST_FORWARDED", value_parser = BoolishValueParser::new(), action = ArgAction::Set, default_value_t = false)]
    pub trust_forwarded: bool,
    /// Address under which pods of the cluster reach the public port; URLs for workers are signed for it.
    #[arg(long, env = "EASEL_INTERNAL_URL", default_value = "http://easel-facade:8080", value_parser = parse_base)]
    pub internal_url: Url,
    #[command(flatten)]
    pub s3: S3Config,
    #[command(flatten)]
    pub gc: GcConfig,
    /// Time that a call of the public API may take, body included. Uploads of files are not bound by it.
    #[arg(long, env = "EASEL_REQUEST_TIMEOUT_SECONDS", default_value = "29", value_parser = seconds)]
    pub request_timeout: Duration,
    /// Largest body of an API call.
    #[arg(long, env = "EASEL_MAX_BODY_BYTES", default_value_t = 10 << 20)]
    pub max_body_bytes: usize,
    /// Largest weight file that is uploaded or imported.
    #[arg(long, env = "EASEL_MAX_UPLOAD_BYTES", default_value_t = 64 << 30)]
    pub max_upload_bytes: u64,
    /// Address of the hub that `huggingFace` sources mean.
    #[arg(long, env = "EASEL_HUGGING_FACE_ENDPOINT", default_value = "https://huggingface.co", value_parser = parse_base)]
    pub hugging_face_endpoint: Url,
    /// Address of the site that `civitai` sources mean.
    #[arg(long, env = "EASEL_CIVITAI_ENDPOINT", default_value = "https://civitai.com", value_parser = parse_base)]
    pub civitai_endpoint: Url,
    /// A worker that is silent for so long loses its job to another one. Below 5 s a busy node loses jobs
    /// without need; above some minutes a killed worker's job waits long.
    #[arg(long, env = "EASEL_LEASE_SECONDS", default_value = "20", value_parser = seconds)]
    pub lease: Duration,
    /// Finished jobs and their pictures are deleted after so many days; 0 keeps them.
    #[arg(long, env = "EASEL_JOB_RETENTION_DAYS", default_value_t = 30)]
    pub job_retention_days: u32,
    /// Namespaces whose objects are seen, separated by commas. Unset: all.
    #[arg(long, env = "EASEL_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// What is logged, e.g. `info,easel_facade=debug`.
    #[arg(long, env = "EASEL_LOG", default_value = "info")]
    pub log: String,
    /// How it is logged.
    #[arg(long, env = "EASEL_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// Write prompts to the log; they are private unless asked for.
    #[arg(long, env = "EASEL_LOG_PROMPTS", value_parser = BoolishValueParser::new(), action = ArgAction::Set, default_value_t = false)]
    pub log_prompts: bool,
    /// After SIGTERM, calls in progress get so long to end.
    #[arg(long, env = "EASEL_DRAIN_SECONDS", default_value = "20", value_parser = seconds)]
    pub drain: Duration,
    /// What is done instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What a person asks for, with the settings of the process that serves.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Lists the objects of the store that no Model needs any more, and deletes them if asked to.
    Gc(GcArguments),
}

#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["dry_run", "delete"])))]
pub struct GcArguments {
    /// Only list.
    #[arg(long)]
    pub dry_run: bool,
    /// List, and delete what is listed.
    #[arg(long)]
    pub delete: bool,
    /// There is no Model at all, and that is right; otherwise nothing is done then.
    #[arg(long)]
    pub no_models: bool,
}

/// What becomes of the bytes of Models that were deleted.
#[derive(Clone, Debug, clap::Args)]
pub struct GcConfig {
    /// Never look; only say what could be deleted; or delete it.
    #[arg(long = "gc-mode", env = "EASEL_GC_MODE", value_enum, default_value_t = GcMode::Delete)]
    pub mode: GcMode,
    /// Time between two looks.
    #[arg(long = "gc-period-seconds", env = "EASEL_GC_PERIOD_SECONDS", default_value = "3600", value_parser = weeks)]
    pub period: Duration,
    /// Bytes that are younger stay. Below the time that an import takes, bytes that were just stored could be
    /// deleted before their Model names them.
    #[arg(long = "gc-grace-seconds", env = "EASEL_GC_GRACE_SECONDS", default_value = "86400", value_parser = weeks)]
    pub grace: Duration,
    /// Where only some namespaces are watched: no Model outside them has bytes in this bucket. Without this
    /// word, weights, which Models of all namespaces share, are not deleted there.
    #[arg(long = "gc-sole-user", env = "EASEL_GC_SOLE_USER", value_parser = BoolishValueParser::new(), action = ArgAction::Set, default_value_t = false)]
    pub sole_user: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GcMode {
    #[value(alias = "off")]
    Disabled,
    DryRun,
    Delete,
}

/// Where objects are kept. Without an endpoint the facade serves its own S3 from the data directory.
#[derive(Clone, Debug, clap::Args)]
pub struct S3Config {
    /// Address of an S3 service. Unset: embedded.
    #[arg(long = "s3-endpoint", env = "EASEL_S3_ENDPOINT")]
    pub endpoint: Option<Url>,
    /// Address of the same service as clients reach it. Unset: the same.
    #[arg(long = "s3-public-endpoint", env = "EASEL_S3_PUBLIC_ENDPOINT")]
    pub public_endpoint: Option<Url>,
    #[arg(long = "s3-region", env = "EASEL_S3_REGION", default_value = "us-east-1")]
    pub region: String,
    #[arg(long = "s3-bucket", env = "EASEL_S3_BUCKET", default_value = "easel")]
    pub bucket: String,
    /// Put the bucket into the path rather than the host name.
    #[arg(long = "s3-path-style", env = "EASEL_S3_PATH_STYLE", value_parser = BoolishValueParser::new(), action = ArgAction::Set, default_value_t = true)]
    pub path_style: bool,
    #[arg(long = "s3-access-key-id", env = "EASEL_S3_ACCESS_KEY_ID", hide_env_values = true)]
    pub access_key_id: Option<String>,
    #[arg(long = "s3-secret-access-key", env = "EASEL_S3_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub secret_access_key: Option<SecretString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

impl Config {
    /// The namespaces to watch, without empty entries; none means all.
    pub fn namespaces(&self) -> Vec<String> {
        self.watch_namespaces.iter().map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect()
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("{text:?} is no whole number of seconds from 1 to 86400")),
    }
}

/// From a minute to four weeks.
fn weeks(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds @ 60..=2_419_200) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("{text:?} is no whole number of seconds from 60 to 2419200")),
    }
}

/// An http(s) address without query or fragment; its path ends without a slash.
fn parse_base(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim_end_matches('/')).map_err(|e| format!("{text:?} is no URL: {e}"))?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.has_host();
    match url.scheme() {
        "http" | "https" if plain => Ok(url),
        _ => Err(format!("{text:?} is no plain http or https address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Config, clap::Error> {
        Config::try_parse_from(std::iter::once("easel-facade").chain(args.iter().copied()))
    }

    #[test]
    fn defaults_are_those_of_the_chart() {
        let config = parse(&[]).expect("defaults parse");
        assert_eq!(config.listen.port(), 8080);
        assert_eq!(config.internal_listen.port(), 8081);
        assert_eq!(config.max_body_bytes, 10 * 1024 * 1024);
        assert_eq!(config.lease, Duration::from_secs(20));
        assert_eq!(config.s3.bucket, "easel");
        assert_eq!(config.hugging_face_endpoint.as_str(), "https://huggingface.co/");
        assert_eq!(config.civitai_endpoint.as_str(), "https://civitai.com/");
        assert!(config.namespaces().is_empty());
    }

    #[test]
    fn bad_values_name_themselves() {
        let cases: [(&[&str], &str); 8] = [
            (&["--lease", "0"], "from 1 to 86400"),
            (&["--gc-grace-seconds", "59"], "from 60 to 2419200"),
            (&["gc"], "<--dry-run|--delete>"),
            (&["gc", "--dry-run", "--delete"], "cannot be used with"),
            (&["--public-url", "ftp://x"], "no plain http or https address"),
            (&["--public-url", "nonsense"], "is no URL"),
            (&["--internal-url", "http://x/?a=b"], "no plain http or https address"),
            (&["--hugging-face-endpoint", "file:///hub"], "no plain http or https address"),
        ];
        for (args, want) in cases {
            let error = parse(args).expect_err(want).to_string();
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn a_command_takes_the_settings_of_the_process() {
        let config = parse(&["--gc-grace-seconds", "600", "gc", "--delete", "--no-models"]).expect("parses");
        assert_eq!((config.gc.grace, config.gc.mode), (Duration::from_secs(600), GcMode::Delete));
        let Some(Command::Gc(asked)) = config.command else { panic!("no command") };
        assert!(asked.delete && !asked.dry_run && asked.no_models);
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let config =
            parse(&["--database-url", "postgres://u:hunter2@h/d", "--s3-secret-access-key", "hunter3"]);
        let text = format!("{:?}", config.expect("parses"));
        assert!(!text.contains("hunter"), "{text}");
    }

    #[test]
    fn namespaces_are_split_and_trimmed() {
        let config = parse(&["--watch-namespaces", "a, b,,"]).expect("parses");
        assert_eq!(config.namespaces(), ["a", "b"]);
    }
}
