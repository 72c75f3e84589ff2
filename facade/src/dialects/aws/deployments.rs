//! Endpoints as this dialect shows them: records of deployment jobs (specs/aws-extension.md §4.5). A record is
//! derived from the Endpoint object; its id is the object's UID.

use axum::extract::State;
use serde_json::{Value, json};

use super::error::AwsError;
use super::json::{AwsJson, AwsQuery};
use super::record::time;
use super::wire::{DeploymentRecord, JobQuery};
use crate::app::App;
use crate::auth::Caller;
use crate::catalog::{EndpointView, Service};

/// `GET /inference/list-endpoint-deployment-jobs`
pub(super) async fn list(State(app): State<App>, caller: Caller) -> AwsJson<Vec<DeploymentRecord>> {
    AwsJson(visible(&app, &caller).iter().map(record).collect())
}

/// `GET /inference/get-endpoint-deployment-job`: `{}` for an id that nobody knows, as the service answers.
pub(super) async fn get(
    State(app): State<App>,
    caller: Caller,
    AwsQuery(query): AwsQuery<JobQuery>,
) -> Result<AwsJson<Value>, AwsError> {
    let id = query.job_id.filter(|id| !id.is_empty()).ok_or(AwsError::NoDeploymentId)?;
    let found = visible(&app, &caller).into_iter().find(|endpoint| endpoint.uid == id);
    Ok(AwsJson(found.map_or_else(|| json!({}), |endpoint| json!(record(&endpoint)))))
}

fn visible(app: &App, caller: &Caller) -> Vec<EndpointView> {
    let endpoints = app.directory.endpoints(&caller.namespace);
    endpoints.into_iter().filter(|endpoint| caller.sees_endpoint(&endpoint.name)).collect()
}

fn record(endpoint: &EndpointView) -> DeploymentRecord {
    let (endpoint_status, status) = match endpoint.service {
        Service::InService => ("InService", "success"),
        Service::Starting => ("Creating", "inprogress"),
        Service::Failed => ("Failed", "failed"),
    };
    let ended = endpoint.service != Service::Starting;
    DeploymentRecord {
        endpoint_deployment_job_id: endpoint.uid.clone(),
        start_time: time(endpoint.created),
        end_time: endpoint.condition.since.filter(|_| ended).map(time),
        endpoint_name: endpoint.name.clone(),
        endpoint_status,
        status,
        max_instance_number: endpoint.replicas.to_string(),
        autoscaling: endpoint.autoscaling,
        error: error(endpoint),
    }
}

/// Also while it is starting: "no node has room" is what a person wants to read then.
fn error(endpoint: &EndpointView) -> Option<String> {
    let sentence = format!("{}: {}", endpoint.condition.reason, endpoint.condition.message);
    match (endpoint.service, &endpoint.last_failure) {
        (Service::InService, _) | (Service::Starting, None) => None,
        (Service::Starting, Some(failure)) => Some(failure.clone()),
        (Service::Failed, Some(failure)) if !sentence.contains(failure.as_str()) => {
            Some(format!("{sentence} (last failure: {failure})"))
        }
        (Service::Failed, _) => Some(sentence),
    }
}
