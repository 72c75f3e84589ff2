//! One suite for the job store, run on SQLite and on PostgreSQL.
//!
//! `cargo test -p easel-store --test jobs [-- PART_OF_A_NAME]`

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

mod claims;
mod crash;
mod leases;
mod lists;
#[path = "../support/postgres.rs"]
mod postgres;
mod queue;
#[path = "../support/jobs.rs"]
mod support;
mod worker_models;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

use easel_store::JobStore;
use easel_store::jobs::OpenOptions;
use futures::FutureExt as _;

use postgres::{Disk, Postgres};

/// An empty database, and the store on it.
pub struct Fixture {
    pub url: String,
    pub store: JobStore,
    _directory: Option<tempfile::TempDir>,
}

impl Fixture {
    /// Another store on the same database, as a second process would have.
    pub async fn another(&self) -> JobStore {
        JobStore::open(&self.url, &OpenOptions::default()).await.expect("the database is there")
    }
}

type Test = fn(Fixture) -> Pin<Box<dyn Future<Output = ()>>>;

/// Names of asynchronous functions that take a [`Fixture`].
macro_rules! tests {
    ($($module:ident :: $name:ident),* $(,)?) => {
        [$((stringify!($name), (|fixture| Box::pin($module::$name(fixture))) as Test)),*]
    };
}

fn main() -> ExitCode {
    if let Ok(url) = std::env::var(crash::CHILD_URL) {
        return crash::submit_until_killed(&url);
    }
    let suite = tests![
        queue::a_job_goes_its_way,
        queue::a_full_queue_takes_no_more,
        queue::one_key_is_one_job,
        queue::jobs_that_nobody_will_take_can_be_failed,
        queue::hostile_text_is_only_text,
        queue::unusable_jobs_are_refused,
        queue::cancelling_stops_what_can_be_stopped,
        queue::waiting_ends_with_the_change,
        claims::the_oldest_goes_first_unless_a_model_is_held,
        claims::claimers_never_share_a_job,
        claims::claims_stay_in_their_endpoint,
        leases::only_the_lease_holder_counts,
        leases::completing_may_be_repeated,
        leases::retriable_failures_are_tried_again,
        leases::a_released_attempt_does_not_count,
        leases::a_lease_that_runs_out_is_taken_back,
        leases::time_is_limited_whatever_the_heartbeats,
        lists::filters_narrow_and_pages_join,
        lists::figures_count_the_waiting_and_the_running,
        lists::finished_jobs_can_be_forgotten,
        worker_models::what_workers_hold_is_seen_by_every_store_until_they_go_silent,
        crash::a_restart_loses_nothing,
        crash::two_stores_share_one_database,
        crash::nothing_acknowledged_is_lost_to_a_kill,
    ];
    // Flags of the usual test harness have no meaning here.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("threads");
    let failures = runtime.block_on(async {
        let postgres = Postgres::start(Disk::Lazy).await;
        let mut failures = 0;
        for (name, test) in suite {
            for database in ["sqlite", "postgres"] {
                let full_name = format!("{database}::{name}");
                if !wanted.is_empty() && !wanted.iter().any(|part| full_name.contains(part.as_str())) {
                    continue;
                }
                let begun = Instant::now();
                let fixture = fixture(database, name, &postgres).await;
                let passed = AssertUnwindSafe(test(fixture)).catch_unwind().await.is_ok();
                let word = if passed { "ok" } else { "FAILED" };
                println!("test {full_name} ... {word} ({} ms)", begun.elapsed().as_millis());
                failures += u32::from(!passed);
            }
        }
        failures
    });
    println!("\n{failures} failed");
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

async fn fixture(database: &str, name: &str, postgres: &Postgres) -> Fixture {
    let (url, directory) = match database {
        "sqlite" => {
            let directory = tempfile::tempdir().expect("a temporary directory");
            (format!("sqlite://{}", directory.path().join("jobs.db").display()), Some(directory))
        }
        _ => (postgres.database(name).await, None),
    };
    let store = JobStore::open(&url, &OpenOptions::default()).await.expect("an empty database opens");
    Fixture { url, store, _directory: directory }
}
