//! Who gets which job.

use std::collections::HashMap;

use easel_store::jobs::{Claim, Job, NewJob};
use futures::future::join_all;

use crate::Fixture;
use crate::queue::claim_by;
use crate::support::{at, holder, job, model, record};

pub async fn the_oldest_goes_first_unless_a_model_is_held(Fixture { store, .. }: Fixture) {
    for (created, checkpoint) in [(2, 1), (0, 1), (1, 2), (3, 2), (4, 3)] {
        let new = NewJob { checkpoint: model(checkpoint), ..job(&created.to_string()) };
        store.submit(new, 100, at(created)).await.unwrap();
    }
    let held = [model(9), model(2)];
    let cases = [
        ("holds model 2", at(5), &held[..], "1"),
        ("holds none", at(5), &[], "0"),
        // Job 2 has waited for longer than the bound of 30 s, so job 3, with model 2, has to wait.
        ("holds model 2, but another one waited too long", at(32), &held[..], "2"),
        ("holds model 2", at(32), &held[..], "3"),
        ("holds model 2, which nobody wants", at(32), &held[..], "4"),
    ];
    for (name, now, held, want) in cases {
        let claimed = store.claim(&Claim { held, ..claim_by("w") }, now).await.unwrap();
        assert_eq!(claimed.map(|job| job.request.prompt).as_deref(), Some(want), "{name}");
    }
    assert_eq!(store.claim(&claim_by("w"), at(99)).await.unwrap(), None);
}

pub async fn claims_stay_in_their_endpoint(Fixture { store, .. }: Fixture) {
    for (namespace, endpoint) in [("studio", "other"), ("elsewhere", "demo")] {
        let new = NewJob { namespace: namespace.into(), endpoint: endpoint.into(), ..job("x") };
        store.submit(new, 10, at(0)).await.unwrap();
    }
    assert_eq!(store.claim(&claim_by("w"), at(1)).await.unwrap(), None);
    let other = Claim { endpoint: "other", ..claim_by("w") };
    assert_eq!(store.claim(&other, at(1)).await.unwrap().unwrap().endpoint, "other");
}

pub async fn claimers_never_share_a_job(fixture: Fixture) {
    const JOBS: usize = 500;
    const CLAIMERS: usize = 8;
    let stores = [fixture.store.clone(), fixture.another().await];
    for i in 0..JOBS {
        let new = NewJob { checkpoint: model(u32::try_from(i % 3).unwrap()), ..job("x") };
        stores[0].submit(new, u32::MAX, at(0)).await.unwrap();
    }
    let claimers = (0..CLAIMERS).map(|number| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move {
            let (worker, held) = (format!("w{number}"), [model(1)]);
            let claim = Claim { held: &held, ..claim_by(&worker) };
            let mut mine = Vec::new();
            // A claim may find nothing while others hold what it looked at; the queue is what counts.
            for _ in 0..10 * JOBS {
                if let Some(job) = store.claim(&claim, at(1)).await.unwrap() {
                    store.complete(&holder(&job, &worker), &record(), at(2)).await.unwrap();
                    mine.push(job);
                } else if store.queue_figures("studio", "demo").await.unwrap().pending == 0 {
                    break;
                }
            }
            mine
        })
    });
    let all: Vec<Job> = join_all(claimers).await.into_iter().flat_map(Result::unwrap).collect();
    let mut holders = HashMap::new();
    for job in &all {
        assert_eq!(job.attempt.0, 1);
        assert_eq!(holders.insert(job.id, &job.worker), None, "{} was handed out twice", job.id);
    }
    assert_eq!(holders.len(), JOBS);
}
