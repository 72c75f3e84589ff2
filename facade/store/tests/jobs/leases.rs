//! Attempts, their fencing numbers, and their ends.

use easel_protocol::FailureReport;
use easel_protocol::worker::Progress;
use easel_store::JobStore;
use easel_store::jobs::{Attempt, Holder, Job, JobId, JobState, LeaseError, NewJob};

use crate::Fixture;
use crate::queue::{LEASE, claim_by};
use crate::support::{at, holder, job, record, with_attempt};

/// The four calls of a worker, each with its word or the reason of the refusal.
async fn every_call(store: &JobStore, holder: &Holder<'_>, now: i64) -> Vec<&'static str> {
    let word = |outcome: Result<(), LeaseError>| match outcome {
        Ok(()) => "ok",
        Err(LeaseError::Refused(refused)) => refused.reason(),
        Err(LeaseError::Store(error)) => panic!("{error}"),
    };
    let failure = FailureReport::new("Any", "any", true);
    vec![
        word(store.heartbeat(holder, &Progress::default(), LEASE, at(now)).await.map(drop)),
        word(store.release(holder, at(now)).await),
        word(store.fail(holder, &failure, at(now)).await.map(drop)),
        word(store.complete(holder, &record(), at(now)).await),
    ]
}

async fn running(store: &JobStore, worker: &str, now: i64) -> Job {
    store.claim(&claim_by(worker), at(now)).await.unwrap().expect("a job is due")
}

pub async fn only_the_lease_holder_counts(Fixture { store, .. }: Fixture) {
    store.submit(job("x"), 10, at(0)).await.unwrap();
    let first = holder(&running(&store, "w1", 1).await, "w1");
    assert_eq!(store.expire_leases(at(30)).await.unwrap().len(), 1);
    assert_eq!(every_call(&store, &first, 31).await, ["Stale"; 4], "queued again");

    let job = running(&store, "w2", 40).await;
    let second = holder(&job, "w2");
    assert_eq!(second.attempt, Attempt(2));
    let before = store.find(job.id).await.unwrap();
    let cases = [
        ("worker whose lease ran out", first, "Stale"),
        ("right attempt, other worker", Holder { worker: "w1", ..second }, "Stale"),
        ("other attempt, right worker", with_attempt(second, 1), "Stale"),
        ("attempt never handed out", with_attempt(second, 3), "Unknown"),
        ("attempt 0", with_attempt(second, 0), "Unknown"),
        ("attempt beyond every number", with_attempt(second, u32::MAX), "Unknown"),
        ("job that is not there", Holder { id: JobId::new(), ..second }, "Unknown"),
        ("worker with a wildcard", Holder { worker: "%", ..second }, "Stale"),
    ];
    for (name, holder, want) in cases {
        assert_eq!(every_call(&store, &holder, 41).await, [want; 4], "{name}");
    }
    assert_eq!(store.find(job.id).await.unwrap(), before, "what is refused changes nothing");

    store.complete(&second, &record(), at(42)).await.unwrap();
    let before = store.find(job.id).await.unwrap();
    assert_eq!(every_call(&store, &second, 43).await, ["Finished", "Finished", "Finished", "ok"]);
    assert_eq!(every_call(&store, &first, 43).await, ["Finished"; 4]);
    assert_eq!(store.find(job.id).await.unwrap(), before);
}

pub async fn completing_may_be_repeated(Fixture { store, .. }: Fixture) {
    store.submit(job("x"), 10, at(0)).await.unwrap();
    let mine = holder(&running(&store, "w", 1).await, "w");
    for second in 2..5 {
        store.complete(&mine, &record(), at(second)).await.unwrap();
    }
    assert_eq!(store.find(mine.id).await.unwrap().unwrap().finished_at, Some(at(2)), "the first one counts");
    let refused = store.complete(&Holder { worker: "v", ..mine }, &record(), at(5)).await;
    assert!(matches!(refused, Err(LeaseError::Refused(_))));
}

pub async fn retriable_failures_are_tried_again(Fixture { store, .. }: Fixture) {
    let id = store.submit(job("x"), 10, at(0)).await.unwrap().job.id;
    let failure = |n: u32| FailureReport::new("DeviceLost", format!("failure {n}"), true);
    // Failed at, and the first second at which it is due again: 2 s and 8 s later.
    for (n, failed_at, due) in [(1, 10, 12), (2, 20, 28)] {
        let mine = holder(&running(&store, "w", failed_at).await, "w");
        assert_eq!(store.fail(&mine, &failure(n), at(failed_at)).await.unwrap(), JobState::Queued);
        let queued = store.find(id).await.unwrap().unwrap();
        assert_eq!((queued.failure, queued.finished_at, queued.worker), (Some(failure(n)), None, None));
        assert_eq!(store.claim(&claim_by("w"), at(due - 1)).await.unwrap(), None, "not yet due");
        assert_eq!(store.queue_figures("studio", "demo").await.unwrap().pending, 1);
    }
    let mine = holder(&running(&store, "w", 28).await, "w");
    assert_eq!(store.fail(&mine, &failure(3), at(29)).await.unwrap(), JobState::Failed);
    let failed = store.find(id).await.unwrap().unwrap();
    assert_eq!((failed.tries, failed.failure, failed.finished_at), (3, Some(failure(3)), Some(at(29))));

    let id = store.submit(job("x"), 10, at(30)).await.unwrap().job.id;
    let mine = holder(&running(&store, "w", 31).await, "w");
    let permanent = FailureReport::new("BadPrompt", "never", false);
    assert_eq!(store.fail(&mine, &permanent, at(32)).await.unwrap(), JobState::Failed, "at once");
    assert_eq!(store.find(id).await.unwrap().unwrap().failure, Some(permanent));
}

pub async fn a_released_attempt_does_not_count(Fixture { store, .. }: Fixture) {
    let id = store.submit(NewJob { max_tries: 1, ..job("x") }, 10, at(0)).await.unwrap().job.id;
    for attempt in 1..=4 {
        let mine = holder(&running(&store, "w", 1).await, "w");
        assert_eq!(mine.attempt, Attempt(attempt), "the fencing number moves on");
        store.release(&mine, at(2)).await.unwrap();
        let queued = store.find(id).await.unwrap().unwrap();
        assert_eq!((queued.state, queued.tries, queued.worker), (JobState::Queued, 0, None));
        assert_eq!(every_call(&store, &mine, 3).await, ["Stale"; 4]);
    }
    let last = holder(&running(&store, "w", 5).await, "w");
    store.complete(&last, &record(), at(6)).await.unwrap();
}

pub async fn a_lease_that_runs_out_is_taken_back(Fixture { store, .. }: Fixture) {
    let id = store.submit(job("x"), 10, at(0)).await.unwrap().job.id;
    for attempt in 1..=3_i64 {
        let start = attempt * 100;
        let mine = holder(&running(&store, "w", start).await, "w");
        assert_eq!(store.expire_leases(at(start + 20)).await.unwrap(), vec![], "it lasts 20 s");
        let late = store.heartbeat(&mine, &Progress::default(), LEASE, at(start + 25)).await;
        late.expect("late, but nobody has noticed");
        assert_eq!(store.expire_leases(at(start + 40)).await.unwrap(), vec![], "renewed until 45");
        let expired = store.expire_leases(at(start + 46)).await.unwrap();
        assert_eq!(expired.len(), 1);
        assert_eq!((expired[0].worker.as_str(), expired[0].attempt), ("w", mine.attempt));
        let job = store.find(id).await.unwrap().unwrap();
        assert_eq!(expired[0].job, job);
        let failure = job.failure.expect("the reason");
        let last = if attempt == 3 { "; it was the last one" } else { "" };
        let want = format!(
            "worker w was not heard of until its lease ran out (attempt {attempt}, try {attempt} of 3{last})"
        );
        assert_eq!((failure.reason.as_str(), failure.message), ("LeaseExpired", want));
        let want = if attempt == 3 { JobState::Failed } else { JobState::Queued };
        assert_eq!(job.state, want, "attempt {attempt}");
    }
    assert_eq!(store.expire_leases(at(9999)).await.unwrap(), vec![]);
}

pub async fn time_is_limited_whatever_the_heartbeats(Fixture { store, .. }: Fixture) {
    let new = NewJob { timeout_seconds: 30, max_tries: 1, ..job("x") };
    store.submit(new, 10, at(0)).await.unwrap();
    let mine = holder(&running(&store, "w", 100).await, "w");
    let heartbeat = async |now| store.heartbeat(&mine, &Progress::default(), LEASE, at(now)).await;
    assert_eq!(heartbeat(105).await.unwrap().lease_until, at(125));
    assert_eq!(heartbeat(120).await.unwrap().lease_until, at(130), "the end of the time");
    assert_eq!(heartbeat(129).await.unwrap().lease_until, at(130));
    let Err(LeaseError::Refused(refused)) = heartbeat(130).await else { panic!("its time is up") };
    let want = format!("attempt 1 of job {} has used up its 30 s", mine.id);
    assert_eq!((refused.reason(), refused.to_string()), ("TimedOut", want));
    let expired = store.expire_leases(at(131)).await.unwrap();
    let failure = expired[0].job.failure.clone().expect("the reason");
    assert_eq!(failure.reason, "TimedOut");
    assert_eq!(
        failure.message,
        "worker w did not finish within 30 s (attempt 1, try 1 of 1; it was the last one)"
    );
    assert_eq!(expired[0].job.state, JobState::Failed);

    // What is ready in time, but said late, counts.
    store.submit(NewJob { timeout_seconds: 30, ..job("x") }, 10, at(200)).await.unwrap();
    let mine = holder(&running(&store, "w", 200).await, "w");
    store.complete(&mine, &record(), at(231)).await.unwrap();
}
