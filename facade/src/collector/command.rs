//! `easel-facade gc`: the same look for a person, in a process of its own beside the one that serves, e.g. with
//! `kubectl exec`. The embedded object store belongs to that process, and is asked over its public port.

use std::io::{self, Write};

use easel_store::jobs::{JobStore, OpenOptions, StoreError};
use easel_store::objects::{EmbeddedError, EmbeddedS3, ObjectError, S3Options, S3Store};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use url::Url;

use super::{Collector, Figures, Orphan, SweepError};
use crate::catalog::KubeCluster;
use crate::config::{Config, GcArguments};
use crate::run::{RunError, kube_client, s3_options};

/// Why the command ended without a table, or in the middle of it.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    #[error(transparent)]
    Setup(#[from] RunError),
    #[error("cannot open the job store")]
    Jobs { source: StoreError },
    #[error("cannot read the embedded object store's credentials")]
    Credentials { source: EmbeddedError },
    #[error("cannot use the object store")]
    Objects { source: ObjectError },
    #[error(transparent)]
    Sweep(#[from] SweepError),
    #[error("cannot print")]
    Print { source: io::Error },
}

/// Prints what nothing needs, and deletes it if asked to.
///
/// # Errors
/// [`GcError`]
pub async fn collect_now(config: Config, asked: GcArguments) -> Result<(), GcError> {
    let jobs = JobStore::open(config.database_url.expose_secret(), &OpenOptions::default())
        .await
        .map_err(|source| GcError::Jobs { source })?;
    let objects = S3Store::connect(&options(&config)?).map_err(|source| GcError::Objects { source })?;
    let cluster = KubeCluster::new(kube_client().await?);
    let namespaces = config.namespaces();
    let collector = Collector {
        objects: &objects,
        jobs: &jobs,
        cluster: &cluster,
        directory: None,
        namespaces: &namespaces,
        config: &config.gc,
    };
    let mut before = asked.no_models.then_some(0);
    let printed = print(&collector, asked.delete, &mut before, &mut io::stdout()).await;
    jobs.close().await;
    printed
}

async fn print(
    collector: &Collector<'_>,
    delete: bool,
    before: &mut Option<u64>,
    out: &mut (dyn Write + Send),
) -> Result<(), GcError> {
    let mut written = writeln!(out, "{:<80} {:>15} {:>9}  REASON", "KEY", "BYTES", "AGE");
    let figures = collector
        .sweep(delete, before, Timestamp::now(), &mut |orphan| {
            let line = line(orphan);
            if written.is_ok() {
                written = writeln!(out, "{line}");
            }
        })
        .await?;
    written = written.and_then(|()| writeln!(out, "{}", summary(&figures, delete)));
    written.map_err(|source| GcError::Print { source })
}

fn line(orphan: &Orphan) -> String {
    let Orphan { key, kind, size, age, .. } = orphan;
    format!("{key:<80} {size:>15} {:>9}  {}", short(*age), kind.reason())
}

/// In the largest unit that is not below one.
fn short(age: SignedDuration) -> String {
    match age.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3600 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn summary(figures: &Figures, delete: bool) -> String {
    let all = if delete { &figures.deleted } else { &figures.left };
    let (objects, bytes) =
        all.values().fold((0, 0_u64), |sum, add| (sum.0 + add.0, sum.1.saturating_add(add.1)));
    let verb = if delete { "deleted" } else { "would be deleted" };
    let unseen = match figures.unseen {
        0 => String::new(),
        unseen => format!(
            "; {unseen} weights are left alone, as only some namespaces are watched (see --gc-sole-user)"
        ),
    };
    format!("{objects} objects, {bytes} bytes {verb}{unseen}")
}

fn options(config: &Config) -> Result<S3Options, GcError> {
    if config.s3.endpoint.is_some() {
        return Ok(s3_options(&config.s3)?);
    }
    let beside = format!("http://127.0.0.1:{}", config.listen.port());
    let beside = Url::parse(&beside).expect("a loopback address with a port is a URL");
    EmbeddedS3::client_options(&config.data_dir.join("objects"), &config.s3.bucket, beside)
        .map_err(|source| GcError::Credentials { source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::Kind;

    #[test]
    fn a_line_tells_key_size_age_and_reason() {
        let orphan = Orphan {
            key: "models/team/m/upload/a".into(),
            kind: Kind::Upload,
            size: 1234,
            age: SignedDuration::from_hours(50),
            deleted: false,
        };
        let words: Vec<String> = line(&orphan).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words.join(" "), "models/team/m/upload/a 1234 2d no Model declares this file");
    }

    #[test]
    fn ages_are_short() {
        for (seconds, want) in [(5, "5s"), (3599, "59m"), (7200, "2h"), (172_800, "2d")] {
            assert_eq!(short(SignedDuration::from_secs(seconds)), want);
        }
    }

    #[test]
    fn the_summary_says_what_was_left_alone() {
        let figures = Figures {
            left: [(Kind::Weights, (2, 20)), (Kind::Claim, (1, 7))].into(),
            unseen: 3,
            ..Figures::default()
        };
        let text = summary(&figures, false);
        assert!(text.starts_with("3 objects, 27 bytes would be deleted; 3 weights are left alone"), "{text}");
        assert_eq!(
            summary(&figures, true),
            "0 objects, 0 bytes deleted; 3 weights are left alone, as only some namespaces are watched (see --gc-sole-user)"
        );
    }
}
