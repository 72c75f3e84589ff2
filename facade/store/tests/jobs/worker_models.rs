//! What workers hold.

use easel_protocol::FailureReport;
use easel_protocol::worker::{ModelPhase, ModelState, ModelStates};
use easel_store::jobs::WorkerModels;

use crate::Fixture;
use crate::support::at;

fn said(endpoint: &str, worker: &str, models: &[(&str, ModelPhase)]) -> WorkerModels {
    let state = |(model, phase): &(&str, ModelPhase)| ModelState {
        model: (*model).to_owned(),
        phase: *phase,
        failure: (*phase == ModelPhase::Failed).then(|| FailureReport::new("Bad", "it's \0 \"bad\"", false)),
    };
    WorkerModels {
        namespace: "studio".into(),
        endpoint: endpoint.into(),
        worker: worker.into(),
        states: ModelStates { models: models.iter().map(state).collect() },
    }
}

pub async fn what_workers_hold_is_seen_by_every_store_until_they_go_silent(fixture: Fixture) {
    let (store, other) = (&fixture.store, fixture.another().await);
    let one = said("demo", "pod-1", &[("a", ModelPhase::Loading)]);
    assert!(store.say_models(&one, at(0)).await.unwrap());
    assert!(!other.say_models(&one, at(30)).await.unwrap(), "a sign of life is nothing new");
    let two = said("demo", "pod-2", &[("a", ModelPhase::Loaded), ("b", ModelPhase::Failed)]);
    assert!(other.say_models(&two, at(40)).await.unwrap());
    let third = said("else", "pod-1", &[("a", ModelPhase::Loaded)]);
    assert!(store.say_models(&third, at(50)).await.unwrap());
    assert_eq!(store.models_of("studio", "demo").await.unwrap(), [one.clone(), two.clone()]);
    assert_eq!(other.all_models().await.unwrap(), [one, two.clone(), third.clone()]);

    assert_eq!(store.forget_models(at(30)).await.unwrap(), 0, "it spoke at that moment");
    assert_eq!(store.forget_models(at(31)).await.unwrap(), 1);
    assert_eq!(store.all_models().await.unwrap(), [two, third]);
    let gone = said("demo", "pod-2", &[]);
    assert!(store.say_models(&gone, at(60)).await.unwrap(), "it leaves");
    assert!(!store.say_models(&gone, at(61)).await.unwrap(), "only once");
    assert_eq!(store.models_of("studio", "demo").await.unwrap(), []);
    other.close().await;
}
