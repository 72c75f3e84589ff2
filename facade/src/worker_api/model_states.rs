//! `POST /worker/v1/models/state`: what workers hold, and from it the Endpoint's `status.models`.
//!
//! A report reaches any of the facades. It is kept in the job store, where all of them find it, so that whichever
//! writes the status writes the same. Two that write at the same moment may leave the older picture; the next
//! round of [`publish_all`] puts that right. What is the same already is not written.

use axum::extract::State;
use easel_crds::endpoint::{ServedModel, ServedState};
use easel_protocol::FailureReport;
use easel_protocol::worker::{MAX_MODEL_STATES, ModelPhase, ModelState, ModelStates};
use easel_store::jobs::WorkerModels;
use http::StatusCode;
use jiff::Timestamp;

use super::error::WorkerError;
use super::identity::Worker;
use super::json::WorkerJson;
use crate::app::App;
use crate::catalog::EndpointView;

/// Longest reason and message of a status.
const MAX_REASON: usize = 128;
const MAX_MESSAGE: usize = 1024;

/// Keeps what a worker says and, where that is news, writes it into the Endpoint's status.
pub(super) async fn report(
    worker: Worker,
    State(app): State<App>,
    WorkerJson(states): WorkerJson<ModelStates>,
) -> Result<StatusCode, WorkerError> {
    if !app.directory.objects_known() {
        return Err(WorkerError::NotSynced);
    }
    let Worker { namespace, endpoint, pod } = worker;
    let count = states.models.len();
    if count > MAX_MODEL_STATES {
        let problem = format!("{count} models are reported; {MAX_MODEL_STATES} are allowed");
        return Err(WorkerError::Input(problem));
    }
    // Whatever a pod calls a Model: only the names of Models come into the status.
    let known = |state: &ModelState| app.directory.model(&namespace, &state.model).is_some();
    let models = states.models.into_iter().filter(known).collect();
    let said = WorkerModels {
        namespace: namespace.clone(),
        endpoint: endpoint.clone(),
        worker: pod,
        states: ModelStates { models },
    };
    let news = app.jobs.say_models(&said, Timestamp::now()).await?;
    if let (true, Some(endpoint)) = (news, app.directory.endpoint(&namespace, &endpoint)) {
        let said = app.jobs.models_of(&namespace, &endpoint.name).await?;
        publish(&app, &endpoint, &said).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Brings the status of every Endpoint in line with what workers said last.
///
/// # Errors
/// The job store or the API server does not answer; what was not written is written the next time. One Endpoint that
/// cannot be written keeps no other from it.
pub(crate) async fn publish_all(app: &App) -> Result<(), WorkerError> {
    let said = app.jobs.all_models().await?;
    let mut outcome = Ok(());
    for endpoint in app.directory.all_endpoints() {
        let own =
            |said: &&WorkerModels| said.namespace == endpoint.namespace && said.endpoint == endpoint.name;
        let own: Vec<WorkerModels> = said.iter().filter(own).cloned().collect();
        outcome = outcome.and(publish(app, &endpoint, &own).await);
    }
    outcome
}

async fn publish(app: &App, endpoint: &EndpointView, said: &[WorkerModels]) -> Result<(), WorkerError> {
    let models = together(said);
    if endpoint.served != models {
        app.cluster.report_models(&endpoint.namespace, &endpoint.name, &endpoint.uid, &models).await?;
    }
    Ok(())
}

/// One line per Model, by name; where there are too many those that are least far are kept.
fn together(said: &[WorkerModels]) -> Vec<ServedModel> {
    let mut models: Vec<ServedModel> = Vec::new();
    for state in said.iter().flat_map(|worker| &worker.states.models) {
        let seen = served(state);
        match models.iter_mut().find(|model| model.name == state.model) {
            Some(model) => {
                let loaded = model.loaded + seen.loaded;
                if seen.state < model.state {
                    *model = seen;
                }
                model.loaded = loaded;
            }
            None => models.push(seen),
        }
    }
    models.sort_by(|a, b| (a.state, &a.name).cmp(&(b.state, &b.name)));
    models.truncate(MAX_MODEL_STATES);
    models.sort_by(|a, b| a.name.cmp(&b.name));
    models
}

fn served(ModelState { model, phase, failure }: &ModelState) -> ServedModel {
    let state = match phase {
        ModelPhase::Failed => ServedState::Failed,
        ModelPhase::Downloading => ServedState::Downloading,
        ModelPhase::Loading => ServedState::Loading,
        ModelPhase::Loaded => ServedState::Loaded,
    };
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let failure = failure.as_ref().filter(|_| state == ServedState::Failed);
    ServedModel {
        name: model.clone(),
        state,
        loaded: i32::from(state == ServedState::Loaded),
        reason: failure.map(|FailureReport { reason, .. }| cut(reason, MAX_REASON)),
        message: failure.map(|FailureReport { message, .. }| cut(message, MAX_MESSAGE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(name: &str, models: &[(&str, ModelPhase)]) -> WorkerModels {
        let state = |(model, phase): &(&str, ModelPhase)| ModelState {
            model: (*model).to_owned(),
            phase: *phase,
            failure: Some(FailureReport::new("Bad", format!("bad on {name}"), false)),
        };
        WorkerModels {
            namespace: "team".into(),
            endpoint: "demo".into(),
            worker: name.into(),
            states: ModelStates { models: models.iter().map(state).collect() },
        }
    }

    #[test]
    fn the_worker_that_is_least_far_decides_and_the_loaded_ones_are_counted() {
        use ModelPhase::{Downloading, Failed, Loaded, Loading};
        let said = [
            worker("pod-1", &[("b", Loaded), ("a", Loaded), ("c", Failed), ("d", Loading)]),
            worker("pod-2", &[("a", Loaded), ("b", Downloading), ("c", Loaded), ("d", Downloading)]),
            worker("pod-3", &[("c", Failed)]),
        ];
        let line = |model: &ServedModel| {
            format!(
                "{} {:?} {} {}",
                model.name,
                model.state,
                model.loaded,
                model.message.as_deref().unwrap_or("-")
            )
        };
        let lines: Vec<String> = together(&said).iter().map(line).collect();
        assert_eq!(
            lines,
            ["a Loaded 2 -", "b Downloading 1 -", "c Failed 1 bad on pod-1", "d Downloading 0 -"]
        );
        assert_eq!(together(&[]), []);
    }

    #[test]
    fn a_long_list_keeps_what_went_wrong() {
        let names: Vec<String> = (0..70).map(|n| format!("m{n:02}")).collect();
        let mut models: Vec<(&str, ModelPhase)> =
            names.iter().map(|n| (n.as_str(), ModelPhase::Loaded)).collect();
        models[69].1 = ModelPhase::Failed;
        let said = together(&[worker("pod", &models)]);
        assert_eq!((said.len(), said[63].name.as_str(), said[62].name.as_str()), (64, "m69", "m62"));
    }
}
