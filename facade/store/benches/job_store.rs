//! How many jobs a second the job store takes and hands out, on SQLite and on PostgreSQL, both writing to a
//! real disk as in production: `cargo bench -p easel-store`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

#[path = "../tests/support/postgres.rs"]
mod postgres;
#[path = "../tests/support/jobs.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod support;

use std::time::{Duration, Instant};

use easel_store::JobStore;
use easel_store::jobs::{Claim, JobFilter, JobState, NewJob, OpenOptions};
use futures::future::join_all;
use jiff::Timestamp;

use postgres::{Disk, Postgres};
use support::{holder, job, model, record};

const JOBS: usize = 2000;
/// Jobs that were finished long ago, while lists are measured.
const HISTORY: u32 = 100_000;
const LOOKS: usize = 50;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(async {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let sqlite = format!("sqlite://{}", directory.path().join("jobs.db").display());
        measure("SQLite", &sqlite, 1000).await;
        let postgres = Postgres::start(Disk::Synced).await;
        measure("PostgreSQL", &postgres.database("jobs").await, 500).await;
    });
}

async fn measure(name: &str, url: &str, goal: u32) {
    let store = JobStore::open(url, &OpenOptions::default()).await.expect("an empty database");
    println!("{name}");
    for callers in [1, 8] {
        let rate = submit(&store, callers).await;
        println!("  submit,           {callers} at a time: {rate:>7.0} jobs/s");
        let rate = claim_and_complete(&store, callers).await;
        println!("  claim + complete, {callers} at a time: {rate:>7.0} jobs/s (goal: {goal})");
    }
    grow_history(&store, url).await;
    let list = |change: fn(&mut JobFilter)| {
        let mut filter = JobFilter::new("studio");
        change(&mut filter);
        filter
    };
    let lists = [
        ("newest 100", list(|_| ())),
        ("100 failed (there are none)", list(|filter| filter.states = vec![JobState::Failed])),
        ("100 of one endpoint", list(|filter| filter.endpoint = Some("demo".into()))),
    ];
    for (what, filter) in lists {
        let (median, worst) = time(async || drop(store.list(&filter).await.expect("a list"))).await;
        println!("  {what} of {HISTORY} jobs: {median:.1?}, worst {worst:.1?}");
    }
    let figures = async || {
        store.queue_figures("studio", "demo").await.expect("figures");
    };
    let (median, worst) = time(figures).await;
    println!("  queue figures: {median:.1?}, worst {worst:.1?}\n");
    store.close().await;
}

/// Runs `work` in as many tasks as there are callers, and counts what they did together.
async fn per_second<F>(callers: usize, work: impl Fn(usize) -> F) -> f64
where
    F: Future<Output = usize> + Send + 'static,
{
    let begun = Instant::now();
    let tasks: Vec<_> = (0..callers).map(|caller| tokio::spawn(work(caller))).collect();
    let done: usize = join_all(tasks).await.into_iter().map(|done| done.expect("no panic")).sum();
    done as f64 / begun.elapsed().as_secs_f64()
}

async fn submit(store: &JobStore, callers: usize) -> f64 {
    per_second(callers, |caller| {
        let store = store.clone();
        async move {
            for i in (caller..JOBS).step_by(callers) {
                let new =
                    NewJob { checkpoint: model(u32::try_from(i % 4).unwrap_or(0)), ..job("a red circle") };
                store.submit(new, u32::MAX, Timestamp::now()).await.expect("accepted");
            }
            (caller..JOBS).step_by(callers).count()
        }
    })
    .await
}

async fn claim_and_complete(store: &JobStore, callers: usize) -> f64 {
    per_second(callers, |caller| {
        let store = store.clone();
        async move {
            let (worker, held, mut done) = (format!("w{caller}"), [model(1)], 0);
            let lease = Duration::from_secs(20);
            let claim = Claim { namespace: "studio", endpoint: "demo", worker: &worker, held: &held, lease };
            while let Some(job) = store.claim(&claim, Timestamp::now()).await.expect("a claim") {
                let completed = store.complete(&holder(&job, &worker), &record(), Timestamp::now()).await;
                completed.expect("completed");
                done += 1;
            }
            done
        }
    })
    .await
}

/// Copies one finished job many times, inside the database.
async fn grow_history(store: &JobStore, url: &str) {
    let page = store.list(&JobFilter { limit: 1, ..JobFilter::new("studio") }).await.expect("a list");
    let id = page.jobs.first().expect("a finished job").id;
    let (numbers, hex) = match url.starts_with("sqlite") {
        true => (
            format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {HISTORY})"),
            "printf('%08x-0000-4000-8000-000000000000', i)",
        ),
        false => (
            format!("WITH n(i) AS (SELECT generate_series(1, {HISTORY}))"),
            "lpad(to_hex(i), 8, '0') || '-0000-4000-8000-000000000000'",
        ),
    };
    let columns = "namespace, endpoint, dialect, task, checkpoint, request, dialect_params, state, attempt, tries, \
        max_tries, timeout_us, cancel_requested, not_before, worker, completion, started_at, finished_at";
    let statement = format!(
        "{numbers} INSERT INTO jobs (id, created_at, {columns}) \
         SELECT {hex}, created_at - i, {columns} FROM jobs, n WHERE id = '{id}'"
    );
    let pool = sqlx::AnyPool::connect(url).await.expect("the database is there");
    // `WITH` before `INSERT` is the same in both.
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&pool).await.expect("copies");
    pool.close().await;
}

/// Median and worst time of the work.
async fn time(work: impl AsyncFn()) -> (Duration, Duration) {
    let mut times = Vec::with_capacity(LOOKS);
    for _ in 0..LOOKS {
        let begun = Instant::now();
        work().await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    (times[LOOKS / 2], times[LOOKS - 1])
}
