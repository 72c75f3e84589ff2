//! Processes that end, and come back.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitCode, Stdio};

use easel_store::JobStore;
use easel_store::jobs::{JobFilter, JobId, JobState, OpenOptions};
use jiff::Timestamp;

use crate::Fixture;
use crate::queue::claim_by;
use crate::support::{at, holder, job, record};

/// Set for the process that is going to be killed.
pub const CHILD_URL: &str = "EASEL_TEST_SUBMIT_TO";
/// How many jobs it is to have submitted when the kill comes.
const ACKNOWLEDGED: usize = 200;

pub async fn a_restart_loses_nothing(fixture: Fixture) {
    for i in 0..20 {
        fixture.store.submit(job(&i.to_string()), 100, at(i)).await.unwrap();
    }
    let running = fixture.store.claim(&claim_by("w"), at(30)).await.unwrap().unwrap();
    let done = fixture.store.claim(&claim_by("w"), at(30)).await.unwrap().unwrap();
    fixture.store.complete(&holder(&done, "w"), &record(), at(31)).await.unwrap();
    let before = fixture.store.list(&JobFilter::new("studio")).await.unwrap();
    fixture.store.close().await;

    let store = fixture.another().await;
    assert_eq!(store.list(&JobFilter::new("studio")).await.unwrap(), before);
    let mine = holder(&running, "w");
    store.complete(&mine, &record(), at(40)).await.expect("the worker did not notice");
    assert_eq!(store.find(mine.id).await.unwrap().unwrap().state, JobState::Succeeded);
}

pub async fn two_stores_share_one_database(fixture: Fixture) {
    let (a, b) = (fixture.store.clone(), fixture.another().await);
    let id = a.submit(job("x"), 10, at(0)).await.unwrap().job.id;
    let running = b.claim(&claim_by("w"), at(1)).await.unwrap().unwrap();
    assert_eq!(running.id, id);
    assert_eq!(a.claim(&claim_by("v"), at(1)).await.unwrap(), None);
    a.complete(&holder(&running, "w"), &record(), at(2)).await.unwrap();
    b.complete(&holder(&running, "w"), &record(), at(3)).await.unwrap();
    assert_eq!(b.find(id).await.unwrap(), a.find(id).await.unwrap());
}

/// The life of the process that is going to be killed: says the id of each job that was accepted.
pub fn submit_until_killed(url: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread");
    runtime.block_on(async {
        let store = JobStore::open(url, &OpenOptions::default()).await.expect("the database is there");
        // It is killed long before.
        for _ in 0..100_000 {
            let accepted = store.submit(job("x"), u32::MAX, Timestamp::now()).await.expect("accepted");
            let mut out = std::io::stdout().lock();
            if writeln!(out, "{}", accepted.job.id).and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    });
    ExitCode::FAILURE
}

pub async fn nothing_acknowledged_is_lost_to_a_kill(fixture: Fixture) {
    fixture.store.close().await;
    let own = std::env::current_exe().unwrap();
    let mut child =
        Command::new(own).env(CHILD_URL, &fixture.url).stdout(Stdio::piped()).spawn().expect("ourselves");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged: HashSet<JobId> = HashSet::new();
    for line in lines.by_ref().take(ACKNOWLEDGED) {
        acknowledged.insert(line.unwrap().parse().unwrap());
    }
    child.kill().expect("our own child");
    child.wait().unwrap();
    // What it said while the signal was on its way; the last line may be torn.
    acknowledged.extend(lines.map_while(Result::ok).filter_map(|line| line.parse::<JobId>().ok()));
    assert!(acknowledged.len() >= ACKNOWLEDGED, "the child ended early");

    let store = fixture.another().await;
    for id in &acknowledged {
        assert!(store.find(*id).await.unwrap().is_some(), "job {id} is lost");
    }
    let pending = store.queue_figures("studio", "demo").await.unwrap().pending;
    let extra = pending - u64::try_from(acknowledged.len()).unwrap();
    assert!(extra <= 1, "{extra} jobs that nobody was told of");
}
