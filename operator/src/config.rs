//! Flags and environment of `easel-operator`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::client::Faults;
use crate::quantity::Amount;

/// Easel's operator: reconciles Endpoints, Models, TrainingJobs and Datasets.
///
/// Runs in a pod with its ServiceAccount, or anywhere with a kubeconfig (KUBECONFIG). Several may run; the one
/// that holds the Lease works, the others stand by. SIGTERM ends it in order.
#[derive(Clone, Debug, Parser)]
#[command(name = "easel-operator", version)]
pub struct Config {
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, env = "EASEL_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Easel's own namespace: the Lease is here, and the facade.
    #[arg(long, env = "EASEL_NAMESPACE", default_value = "easel")]
    pub namespace: String,
    /// Namespaces whose objects are reconciled, comma separated; empty means all.
    #[arg(long, env = "EASEL_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Image of the runtime, for workers and trainers on CPUs, for imports and for checks of Datasets.
    #[arg(long, env = "EASEL_RUNTIME_IMAGE")]
    pub runtime_image: String,
    /// Image of the runtime for workers and trainers on GPUs; unset means the same image.
    #[arg(long, env = "EASEL_RUNTIME_IMAGE_CUDA")]
    pub runtime_image_cuda: Option<String>,
    /// When the node pulls the runtime's image.
    #[arg(long, env = "EASEL_IMAGE_PULL_POLICY", value_enum, default_value_t = PullPolicy::IfNotPresent)]
    pub image_pull_policy: PullPolicy,
    /// URL of the facade's internal port, as workers reach it; unset means that of Easel's namespace.
    #[arg(long, env = "EASEL_FACADE_INTERNAL_URL")]
    pub facade_internal_url: Option<String>,
    /// CIDRs that a user's URL may lead to besides public addresses, comma separated.
    #[arg(long, env = "EASEL_ALLOWED_CIDRS", value_delimiter = ',')]
    pub allowed_cidrs: Vec<String>,
    /// Where workers may connect to besides the facade, as CIDR:PORT, comma separated: an object store outside
    /// Easel, e.g. 0.0.0.0/0:443.
    #[arg(long, env = "EASEL_WORKER_EGRESS", default_value = "", hide_default_value = true)]
    pub worker_egress: EgressList,
    /// Disk that an import may use: the largest file that can be imported.
    #[arg(long, env = "EASEL_IMPORT_WORK_LIMIT", default_value = "64Gi", value_parser = quantity)]
    pub import_work_limit: Quantity,
    /// Size of the volume that each import works on, so that another pod can go on where a killed one was, e.g. 64Gi;
    /// empty means the pod's own disk.
    #[arg(long, env = "EASEL_IMPORT_VOLUME_SIZE", default_value = "", hide_default_value = true,
          value_parser = quantity_or_none)]
    pub import_volume_size: Option<Quantity>,
    /// StorageClass of that volume; empty means the cluster's default.
    #[arg(long, env = "EASEL_IMPORT_VOLUME_CLASS")]
    pub import_volume_class: Option<String>,
    /// Access modes of that volume, comma separated.
    #[arg(
        long,
        env = "EASEL_IMPORT_VOLUME_ACCESS_MODES",
        value_delimiter = ',',
        default_value = "ReadWriteOnce"
    )]
    pub import_volume_access_modes: Vec<String>,
    /// Seconds that an import Job may take, retries included.
    #[arg(long, env = "EASEL_IMPORT_DEADLINE_SECONDS", default_value_t = 21_600,
          value_parser = clap::value_parser!(i64).range(60..=604_800))]
    pub import_deadline_seconds: i64,
    /// Disk that a trainer may use: base, pictures, what is encoded of them, and states.
    #[arg(long, env = "EASEL_TRAINING_WORK_LIMIT", default_value = "64Gi", value_parser = quantity)]
    pub training_work_limit: Quantity,
    /// Disk that the check of a Dataset may use.
    #[arg(long, env = "EASEL_CHECK_WORK_LIMIT", default_value = "4Gi", value_parser = quantity)]
    pub check_work_limit: Quantity,
    /// Seconds that the check of a Dataset may take, retries included.
    #[arg(long, env = "EASEL_CHECK_DEADLINE_SECONDS", default_value_t = 3600,
          value_parser = clap::value_parser!(i64).range(60..=86_400))]
    pub check_deadline_seconds: i64,
    /// YAML file with instance types of your own.
    #[arg(long, env = "EASEL_INSTANCE_CATALOGUE")]
    pub instance_catalogue: Option<PathBuf>,
    /// Name of the Lease.
    #[arg(long, env = "EASEL_LEASE_NAME", default_value = "easel-operator")]
    pub lease_name: String,
    /// Name of this pod, unique among all operators; unset means the host's name and a random suffix.
    #[arg(long, env = "EASEL_POD_NAME")]
    pub pod_name: Option<String>,
    /// Seconds after which an object is looked at again even if nothing seems to have changed.
    #[arg(long, env = "EASEL_RESYNC_SECONDS", default_value_t = 300,
          value_parser = clap::value_parser!(u64).range(10..=86_400))]
    pub resync_seconds: u64,
    /// How many objects of a kind are reconciled at once.
    #[arg(long, env = "EASEL_CONCURRENCY", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// What is logged, e.g. `info,easel_operator=debug`.
    #[arg(long, env = "EASEL_LOG", default_value = "info")]
    pub log: String,
    /// Form of the log.
    #[arg(long, env = "EASEL_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// For tests: faults of API requests, as ACTION:METHOD:N, comma separated, e.g. crash:PATCH:3.
    #[arg(long, env = "EASEL_FAULTS", default_value = "", hide_default_value = true)]
    pub faults: Faults,
}

/// `imagePullPolicy` of the runtime's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// The word in a pod.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

/// The volume that an import works on.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkVolume {
    pub size: Quantity,
    /// Unset means the cluster's default.
    pub storage_class: Option<String>,
    pub access_modes: Vec<String>,
}

/// A network that workers may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    pub cidr: String,
    pub port: u16,
}

/// Networks, comma separated; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressList(pub Vec<Egress>);

impl std::str::FromStr for EgressList {
    type Err = String;

    fn from_str(list: &str) -> Result<Self, String> {
        let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(egress).collect::<Result<_, _>>().map(Self)
    }
}

fn egress(text: &str) -> Result<Egress, String> {
    let wrong = || format!("\"{text}\" is not CIDR:PORT, such as 10.0.0.0/8:9000");
    let (cidr, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let (address, bits) = cidr.split_once('/').ok_or_else(wrong)?;
    let address: std::net::IpAddr = address.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    if bits.parse::<u8>().map_err(|_| wrong())? > most {
        return Err(wrong());
    }
    Ok(Egress { cidr: cidr.to_owned(), port: port.parse().map_err(|_| wrong())? })
}

fn quantity(text: &str) -> Result<Quantity, String> {
    match Amount::parse(text).filter(|amount| amount.is_positive()) {
        Some(_) => Ok(Quantity(text.to_owned())),
        None => Err(format!("\"{text}\" is no positive quantity, such as 64Gi")),
    }
}

/// An empty text is no quantity and stays empty: [`Config::import_volume`] tells.
fn quantity_or_none(text: &str) -> Result<Quantity, String> {
    match text {
        "" => Ok(Quantity(String::new())),
        text => quantity(text),
    }
}

impl Config {
    /// The volume that imports work on, if they have one of their own.
    pub fn import_volume(&self) -> Option<WorkVolume> {
        let size = self.import_volume_size.clone().filter(|size| !size.0.is_empty())?;
        let storage_class = self.import_volume_class.clone().filter(|class| !class.is_empty());
        let access_modes = self.import_volume_access_modes.clone();
        Some(WorkVolume { size, storage_class, access_modes })
    }

    /// URL of the facade's internal port.
    pub fn facade_url(&self) -> String {
        let default = || format!("http://easel-facade.{}.svc:8081", self.namespace);
        self.facade_internal_url.clone().filter(|url| !url.is_empty()).unwrap_or_else(default)
    }

    /// The namespaces to watch; `None` stands for all.
    pub fn scopes(&self) -> Vec<Option<String>> {
        let named: Vec<_> = self.watch_namespaces.iter().filter(|name| !name.is_empty()).cloned().collect();
        if named.is_empty() { vec![None] } else { named.into_iter().map(Some).collect() }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_only_the_image_is_needed() {
        Config::command().debug_assert();
        let config = Config::try_parse_from(["easel-operator", "--runtime-image", "r:1"]).unwrap();
        assert_eq!(config.facade_url(), "http://easel-facade.easel.svc:8081");
        assert_eq!(config.scopes(), [None]);
        assert!(config.faults.is_empty());
        assert!(Config::try_parse_from(["easel-operator"]).is_err());
    }

    #[test]
    fn lists_are_split_and_wrong_values_refused() {
        let parse = |flag: &str, value: &str| {
            Config::try_parse_from(["easel-operator", "--runtime-image", "r:1", flag, value])
        };
        assert_eq!(
            parse("--watch-namespaces", "a,b").unwrap().scopes(),
            [Some("a".to_owned()), Some("b".to_owned())]
        );
        let egress = parse("--worker-egress", "10.0.0.0/8:9000,::/0:443").unwrap().worker_egress.0;
        assert_eq!(egress[1], Egress { cidr: "::/0".into(), port: 443 });
        for flag in ["--worker-egress", "--allowed-cidrs", "--watch-namespaces", "--faults"] {
            let config = parse(flag, "").unwrap_or_else(|error| panic!("{flag} may be empty: {error}"));
            assert_eq!((config.worker_egress.0.len(), config.scopes()), (0, vec![None]), "{flag}");
        }
        assert_eq!(parse("--import-volume-size", "").unwrap().import_volume(), None);
        let volume = parse("--import-volume-size", "5Gi").unwrap().import_volume().unwrap();
        assert_eq!((volume.size.0.as_str(), volume.storage_class), ("5Gi", None));
        assert_eq!(volume.access_modes, ["ReadWriteOnce"]);
        let wrong = [
            ("--worker-egress", "10.0.0.0:9000"),
            ("--worker-egress", "10.0.0.0/40:9000"),
            ("--faults", "crash"),
            ("--import-work-limit", "0"),
            ("--import-volume-size", "much"),
            ("--resync-seconds", "1"),
        ];
        for (flag, value) in wrong {
            assert!(parse(flag, value).is_err(), "{flag} {value}");
        }
    }
}
