//! Submitting, cancelling, waiting.

use std::time::{Duration, Instant};

use easel_protocol::FailureReport;
use easel_protocol::worker::Progress;
use easel_store::jobs::{Attempt, Cancel, Claim, JobFilter, JobId, JobState, NewJob, SubmitError};
use futures::future::join_all;

use crate::Fixture;
use crate::support::{at, holder, job, model, record, request};

pub const LEASE: Duration = Duration::from_secs(20);

pub fn claim_by(worker: &str) -> Claim<'_> {
    Claim { namespace: "studio", endpoint: "demo", worker, held: &[], lease: LEASE }
}

pub async fn a_job_goes_its_way(Fixture { store, .. }: Fixture) {
    let new = NewJob { idempotency_key: Some("k".into()), ..job("a red circle") };
    let id = new.id;
    let wanted = async || store.is_wanted(&new.checkpoint).await.unwrap();
    assert!(!wanted().await);
    let queued = store.submit(new.clone(), 10, at(0)).await.unwrap();
    assert!(!queued.existed);
    let queued = queued.job;
    assert_eq!((queued.state, queued.attempt, queued.tries), (JobState::Queued, Attempt(0), 0));
    assert_eq!((&queued.request, &queued.checkpoint), (&new.request, &new.checkpoint));
    assert_eq!((queued.created_at, queued.started_at, queued.finished_at), (at(0), None, None));
    assert_eq!((&queued.dialect_params, queued.timeout_seconds), (&new.dialect_params, 600));
    assert_eq!(store.get("studio", id).await.unwrap(), Some(queued));
    assert_eq!(store.get("other", id).await.unwrap(), None);

    assert!(wanted().await && !store.is_wanted(&model(99)).await.unwrap());
    let running = store.claim(&claim_by("w"), at(5)).await.unwrap().unwrap();
    assert!(wanted().await);
    assert_eq!((running.id, running.state, running.attempt), (id, JobState::Running, Attempt(1)));
    assert_eq!((running.worker.as_deref(), running.lease_until), (Some("w"), Some(at(25))));
    assert_eq!((running.tries, running.started_at), (1, Some(at(5))));
    assert_eq!(store.claim(&claim_by("v"), at(5)).await.unwrap(), None);

    let progress = Progress { stage: "Denoising".into(), done: 2, total: 4 };
    let renewed = store.heartbeat(&holder(&running, "w"), &progress, LEASE, at(15)).await.unwrap();
    assert_eq!((renewed.cancel, renewed.lease_until), (false, at(35)));
    assert_eq!(store.find(id).await.unwrap().unwrap().progress, Some(progress));

    store.complete(&holder(&running, "w"), &record(), at(16)).await.unwrap();
    let done = store.get("studio", id).await.unwrap().unwrap();
    assert_eq!((done.state, done.finished_at), (JobState::Succeeded, Some(at(16))));
    assert_eq!((done.completion, done.failure, done.lease_until), (Some(record()), None, None));
    assert!(!wanted().await);
}

pub async fn a_full_queue_takes_no_more(Fixture { store, .. }: Fixture) {
    let submits = (0..32).map(|i| {
        let store = store.clone();
        tokio::spawn(async move { store.submit(job("x"), 10, at(i)).await })
    });
    let mut accepted = 0;
    for submitted in join_all(submits).await {
        match submitted.unwrap() {
            Ok(_) => accepted += 1,
            Err(error @ SubmitError::QueueFull { .. }) => {
                assert!(error.retriable());
                let message = error.to_string();
                assert!(
                    message.starts_with("endpoint demo has 10 jobs waiting; 10 are allowed"),
                    "{message}"
                );
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(accepted, 10);
    let other = NewJob { endpoint: "other".into(), ..job("x") };
    store.submit(other, 10, at(0)).await.expect("each endpoint has a queue of its own");
    store.claim(&claim_by("w"), at(60)).await.unwrap().unwrap();
    store.submit(job("x"), 10, at(60)).await.expect("a running job does not wait");
    assert!(store.submit(job("x"), 0, at(60)).await.is_err(), "no place at all");
}

pub async fn one_key_is_one_job(Fixture { store, .. }: Fixture) {
    let keyed = |key: &str| NewJob { idempotency_key: Some(key.to_owned()), ..job("x") };
    let submits = (0..16).map(|_| {
        let store = store.clone();
        let job = keyed("k");
        tokio::spawn(async move { store.submit(job, 100, at(0)).await.unwrap() })
    });
    let submitted = join_all(submits).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(submitted.iter().filter(|submitted| !submitted.existed).count(), 1);
    assert!(submitted.iter().all(|other| other.job.id == submitted[0].job.id));

    let first = submitted[0].job.id;
    let again = store.submit(keyed("k"), 0, at(1)).await.expect("a full queue does not hide the answer");
    assert_eq!((again.job.id, again.existed), (first, true));
    for other in [keyed("K"), NewJob { endpoint: "other".into(), ..keyed("k") }, job("x"), job("x")] {
        assert!(!store.submit(other, 100, at(1)).await.unwrap().existed);
    }
    let taken = NewJob { id: first, ..job("another one") };
    assert!(matches!(store.submit(taken, 100, at(1)).await, Err(SubmitError::IdTaken { id }) if id == first));
}

pub async fn hostile_text_is_only_text(Fixture { store, .. }: Fixture) {
    let names = ["'; DROP TABLE jobs; --", "%", "_", "a\"b\\", "图 🎨 \u{202e}", "$1", "\u{1}\n\r\t", "NULL"];
    for name in names {
        let new = NewJob {
            namespace: name.into(),
            endpoint: name.into(),
            dialect: name.into(),
            request: request(&format!("{name}\0\u{7f}")),
            dialect_params: serde_json::json!({ name: "\0" }),
            idempotency_key: Some(name.into()),
            ..job("")
        };
        store.submit(new.clone(), 10, at(0)).await.unwrap();
        assert!(store.submit(new.clone(), 10, at(0)).await.unwrap().existed, "{name:?}");
        let filter =
            JobFilter { endpoint: Some(name.into()), dialect: Some(name.into()), ..JobFilter::new(name) };
        let page = store.list(&filter).await.unwrap();
        assert_eq!(page.jobs.len(), 1, "{name:?}");
        let claim = Claim { namespace: name, endpoint: name, worker: name, held: &[], lease: LEASE };
        let claimed = store.claim(&claim, at(1)).await.unwrap().unwrap();
        assert_eq!((claimed.id, claimed.request.prompt), (new.id, format!("{name}\0\u{7f}")));
        assert_eq!(claimed.dialect_params, new.dialect_params);
        let failure = FailureReport::new("Odd", format!("{name}\0"), false);
        let holder = easel_store::jobs::Holder { id: new.id, attempt: Attempt(1), worker: name };
        assert_eq!(store.fail(&holder, &failure, at(2)).await.unwrap(), JobState::Failed);
        assert_eq!(store.find(new.id).await.unwrap().unwrap().failure, Some(failure));
    }
    // A NUL in a name matches nothing, and breaks nothing.
    assert_eq!(store.list(&JobFilter::new("stu\0dio")).await.unwrap().jobs, vec![]);
    assert_eq!(store.claim(&Claim { namespace: "\0", ..claim_by("\0") }, at(1)).await.unwrap(), None);
    let all = store.list(&JobFilter::new("%")).await.unwrap().jobs;
    assert_eq!(all.len(), 1, "a wildcard is a name like any other");
}

pub async fn unusable_jobs_are_refused(Fixture { store, .. }: Fixture) {
    type Break = fn(&mut NewJob);
    let cases: [(Break, &str); 6] = [
        (|job| job.namespace.clear(), "namespace of the job has to have 1 to 256 bytes"),
        (|job| job.endpoint = "x".repeat(257), "endpoint of the job has to have 1 to 256 bytes"),
        (|job| job.dialect = "a\0".into(), "dialect of the job contains a NUL character"),
        (
            |job| job.idempotency_key = Some(String::new()),
            "idempotency key of the job has to have 1 to 256 bytes",
        ),
        (|job| job.max_tries = 0, "max_tries or timeout_seconds of the job is 0"),
        (|job| job.timeout_seconds = 0, "max_tries or timeout_seconds of the job is 0"),
    ];
    for (spoil, want) in cases {
        let mut new = job("x");
        spoil(&mut new);
        let error = store.submit(new, 10, at(0)).await.expect_err(want);
        assert_eq!((error.to_string().as_str(), error.retriable()), (want, false));
    }
    let endless = NewJob { timeout_seconds: u64::MAX, ..job("x") };
    store.submit(endless, 10, at(0)).await.unwrap();
    let claim = Claim { lease: Duration::MAX, ..claim_by("w") };
    assert!(store.claim(&claim, at(0)).await.unwrap().is_some(), "the longest times still fit");
}

pub async fn cancelling_stops_what_can_be_stopped(Fixture { store, .. }: Fixture) {
    let id = store.submit(job("x"), 10, at(0)).await.unwrap().job.id;
    assert_eq!(store.cancel("other", id, at(1)).await.unwrap(), Cancel::NotFound);
    assert_eq!(store.cancel("studio", JobId::new(), at(1)).await.unwrap(), Cancel::NotFound);
    let Cancel::Cancelled(cancelled) = store.cancel("studio", id, at(1)).await.unwrap() else {
        panic!("a queued job is cancelled at once")
    };
    assert_eq!((cancelled.state, cancelled.finished_at), (JobState::Cancelled, Some(at(1))));
    assert!(matches!(store.cancel("studio", id, at(2)).await.unwrap(), Cancel::AlreadyFinished(_)));
    assert_eq!(store.claim(&claim_by("w"), at(2)).await.unwrap(), None);

    // A running job ends when its worker says so, whatever it says.
    let why = FailureReport::new("Cancelled", "told to stop", false);
    let broken = FailureReport::new("DeviceLost", "gone", true);
    let outcomes: [(&str, JobState); 5] = [
        ("stops", JobState::Cancelled),
        ("fails", JobState::Cancelled),
        ("gives back", JobState::Cancelled),
        ("dies", JobState::Cancelled),
        ("was quicker", JobState::Succeeded),
    ];
    for (what, want) in outcomes {
        let id = store.submit(job(what), 10, at(0)).await.unwrap().job.id;
        let running = store.claim(&claim_by("w"), at(1)).await.unwrap().unwrap();
        assert_eq!(running.id, id);
        for _ in 0..2 {
            assert!(
                matches!(store.cancel("studio", id, at(2)).await.unwrap(), Cancel::Requested(_)),
                "{what}"
            );
        }
        let holder = holder(&running, "w");
        assert!(store.heartbeat(&holder, &Progress::default(), LEASE, at(3)).await.unwrap().cancel, "{what}");
        match what {
            "stops" => assert_eq!(store.fail(&holder, &why, at(4)).await.unwrap(), JobState::Cancelled),
            "fails" => assert_eq!(store.fail(&holder, &broken, at(4)).await.unwrap(), JobState::Cancelled),
            "gives back" => store.release(&holder, at(4)).await.unwrap(),
            "dies" => assert_eq!(store.expire_leases(at(60)).await.unwrap().len(), 1),
            _ => store.complete(&holder, &record(), at(4)).await.unwrap(),
        }
        let ended = store.find(id).await.unwrap().unwrap();
        assert_eq!((ended.state, ended.finished_at.is_some()), (want, true), "{what}");
        assert_eq!(store.claim(&claim_by("w"), at(99)).await.unwrap(), None, "{what}");
    }
}

pub async fn waiting_ends_with_the_change(Fixture { store, .. }: Fixture) {
    let mut changes = store.changes("studio", "demo");
    let begun = Instant::now();
    let waiting = tokio::spawn(async move {
        let mut looks = 0;
        while looks < 30 {
            looks += 1;
            changes.wait(Duration::from_secs(30)).await;
            // Another facade's job is found by looking again.
            if begun.elapsed() < Duration::from_millis(900) {
                break;
            }
        }
        looks
    });
    store.submit(NewJob { checkpoint: model(2), ..job("x") }, 10, at(0)).await.unwrap();
    assert_eq!(waiting.await.unwrap(), 1, "the first wait ended with the change");
}

pub async fn jobs_that_nobody_will_take_can_be_failed(Fixture { store, .. }: Fixture) {
    let mine = store.submit(job("x"), 10, at(0)).await.unwrap().job;
    let running = store.claim(&claim_by("w"), at(1)).await.unwrap().unwrap();
    assert_eq!(store.waited_for().await.unwrap(), [], "a running job waits for nobody");
    for _ in 0..3 {
        store.submit(job("x"), 10, at(2)).await.unwrap();
    }
    let other = NewJob { endpoint: "other".into(), ..job("x") };
    store.submit(other, 10, at(2)).await.unwrap();
    let mut waited_for = store.waited_for().await.unwrap();
    waited_for.sort();
    assert_eq!(waited_for, [("studio".into(), "demo".into()), ("studio".into(), "other".into())]);
    let failure = FailureReport::new("EndpointDeleted", "gone", false);
    let failed = store.fail_waiting("studio", "demo", &failure, at(9)).await.unwrap();
    assert_eq!(failed.len(), 3);
    for job in failed {
        assert_eq!((job.state, job.finished_at), (JobState::Failed, Some(at(9))));
        assert_eq!(job.failure.as_ref(), Some(&failure));
    }
    assert_eq!(store.find(mine.id).await.unwrap().unwrap(), running);
    assert_eq!(store.waited_for().await.unwrap(), [("studio".into(), "other".into())]);
}
