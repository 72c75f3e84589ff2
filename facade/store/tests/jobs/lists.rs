//! Looking at many jobs.

use easel_protocol::{FailureReport, Task};
use easel_store::JobStore;
use easel_store::jobs::{Claim, Cursor, Holder, JobFilter, JobState, NewJob, QueueFigures};

use crate::Fixture;
use crate::queue::claim_by;
use crate::support::{at, holder, job, model, record};

/// Twelve jobs, two of each second: even ones of the endpoint `demo`, odd ones of `other`.
async fn twelve(store: &JobStore) {
    for i in 0..12_u32 {
        let (endpoint, dialect) = if i % 2 == 0 { ("demo", "aws") } else { ("other", "native") };
        let new = NewJob {
            endpoint: endpoint.into(),
            dialect: dialect.into(),
            checkpoint: model(i % 3),
            ..job(&i.to_string())
        };
        store.submit(new, 100, at(i64::from(i / 2))).await.unwrap();
    }
    let first = store.claim(&claim_by("w"), at(50)).await.unwrap().unwrap();
    store.complete(&holder(&first, "w"), &record(), at(51)).await.unwrap();
    let second = store.claim(&claim_by("w"), at(52)).await.unwrap().unwrap();
    let failure = FailureReport::new("Bad", "bad", false);
    store.fail(&holder(&second, "w"), &failure, at(53)).await.unwrap();
    store.claim(&claim_by("w"), at(54)).await.unwrap().unwrap();
}

/// The prompts, smallest first: jobs of one second come in any order, but always in the same one.
async fn prompts(store: &JobStore, filter: &JobFilter) -> Vec<u32> {
    let jobs = store.list(filter).await.unwrap().jobs;
    assert!(jobs.is_sorted_by(|a, b| a.created_at >= b.created_at), "newest first");
    let mut prompts: Vec<u32> = jobs.iter().map(|job| job.request.prompt.parse().unwrap()).collect();
    prompts.sort_unstable();
    prompts
}

pub async fn filters_narrow_and_pages_join(Fixture { store, .. }: Fixture) {
    twelve(&store).await;
    type Narrow = fn(&mut JobFilter);
    let cases: [(&str, Narrow, &[u32]); 11] = [
        ("nothing", |_| (), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ("endpoint", |f| f.endpoint = Some("demo".into()), &[0, 2, 4, 6, 8, 10]),
        ("no such endpoint", |f| f.endpoint = Some("dem".into()), &[]),
        ("dialect", |f| f.dialect = Some("native".into()), &[1, 3, 5, 7, 9, 11]),
        ("checkpoint", |f| f.checkpoint = Some(model(2)), &[2, 5, 8, 11]),
        ("task", |f| f.task = Some(Task::TextToImage), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ("one state", |f| f.states = vec![JobState::Succeeded], &[0]),
        ("states", |f| f.states = vec![JobState::Failed, JobState::Running], &[2, 4]),
        ("since", |f| f.created_after = Some(at(4)), &[8, 9, 10, 11]),
        ("until", |f| f.created_before = Some(at(1)), &[0, 1]),
        (
            "several",
            |f| {
                f.endpoint = Some("other".into());
                f.checkpoint = Some(model(2));
                f.states = vec![JobState::Queued];
                f.created_after = Some(at(3));
            },
            &[11],
        ),
    ];
    for (name, narrow, want) in cases {
        let mut filter = JobFilter::new("studio");
        narrow(&mut filter);
        assert_eq!(prompts(&store, &filter).await, want, "{name}");
    }
    assert_eq!(prompts(&store, &JobFilter::new("elsewhere")).await, [0; 0]);

    let whole = store.list(&JobFilter::new("studio")).await.unwrap();
    assert_eq!(whole.next, None);
    let (mut joined, mut before) = (Vec::new(), None::<Cursor>);
    for page in 0..4 {
        let filter = JobFilter { limit: 5, before, ..JobFilter::new("studio") };
        let page_of = store.list(&filter).await.unwrap();
        joined.extend(page_of.jobs);
        before = page_of.next.map(|next| next.to_string().parse().unwrap());
        // New jobs do not shift what follows.
        store.submit(job("99"), 100, at(1000 + page)).await.unwrap();
        if before.is_none() {
            assert_eq!(page, 2);
            break;
        }
    }
    assert_eq!(joined, whole.jobs);
}

pub async fn figures_count_the_waiting_and_the_running(Fixture { store, .. }: Fixture) {
    assert_eq!(store.queue_figures("studio", "demo").await.unwrap(), QueueFigures::default());
    twelve(&store).await;
    let want = QueueFigures { pending: 3, running: 1, oldest_created_at: Some(at(3)) };
    assert_eq!(store.queue_figures("studio", "demo").await.unwrap(), want);
    let want = QueueFigures { pending: 6, running: 0, oldest_created_at: Some(at(0)) };
    assert_eq!(store.queue_figures("studio", "other").await.unwrap(), want);
    assert_eq!(store.queue_figures("elsewhere", "demo").await.unwrap(), QueueFigures::default());
}

pub async fn finished_jobs_can_be_forgotten(Fixture { store, .. }: Fixture) {
    let mut ids = Vec::new();
    for i in 0..4 {
        let id = store.submit(job("x"), 10, at(i)).await.unwrap().job.id;
        ids.push(id);
    }
    for i in 0..3 {
        let claim: Claim<'_> = claim_by("w");
        let claimed = store.claim(&claim, at(10)).await.unwrap().unwrap();
        let mine: Holder<'_> = holder(&claimed, "w");
        store.complete(&mine, &record(), at(20 + i)).await.unwrap();
    }
    let found = async |before, limit| {
        let found = store.finished_before(at(before), limit).await.unwrap();
        found.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(found(22, 10).await, ids[..2]);
    assert_eq!(found(99, 10).await, ids[..3], "what is not finished stays");
    assert_eq!(found(99, 1).await, ids[..1]);
    assert!(store.remove(ids[0]).await.unwrap());
    assert!(!store.remove(ids[0]).await.unwrap());
    assert!(!store.remove(ids[3]).await.unwrap(), "it is queued");
    assert_eq!(store.find(ids[0]).await.unwrap(), None);
    assert!(store.find(ids[3]).await.unwrap().is_some());
}
