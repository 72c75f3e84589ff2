//! One method per call of the protocol. A method sends once; who calls decides about repeating.

use std::time::Duration;

use bytes::Bytes;
use easel_protocol::import::{
    CLAIM_IMPORT_PATH, COMPLETE_IMPORT_PATH, IMPORT_PROGRESS_PATH, ImportProgress, ImportTask,
    STORE_IMPORT_PATH, StoreDone, StorePlan, StoreRequest,
};
use easel_protocol::worker::{
    CLAIM_PATH, ClaimRequest, ClaimedJob, Completion, Heartbeat, HeartbeatReply, JobFailure,
    MODEL_STATES_PATH, MODELS_PATH, ModelSet, ModelStates, Refusal, Release, job_path,
};
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::error::CallError;
use super::token::TokenFile;

/// Time for a call that does not wait for anything at the other end. Shorter than a third of the usual lease (20 s)
/// plus one repetition; a facade that is slower than that is overloaded.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The facade holds a poll for the model set for 20 s.
const MODELS_TIMEOUT: Duration = Duration::from_secs(35);
/// Completing a multipart upload makes the store copy or join the parts, which takes a while.
pub(super) const COMPLETE_IMPORT_TIMEOUT: Duration = Duration::from_secs(600);
/// Longest piece of an error's body that is kept.
const MAX_ERROR_TEXT: usize = 300;

/// The facade's internal port.
#[derive(Debug, Clone)]
pub struct Facade {
    http: reqwest::Client,
    base: Url,
    token: TokenFile,
}

impl Facade {
    /// `base`: scheme, host and port, e.g. `http://easel-facade.easel.svc:8081`.
    pub fn new(http: reqwest::Client, base: Url, token: TokenFile) -> Self {
        Self { http, base, token }
    }

    /// The models to hold. With `known`, waits until the set is another one, up to 20 s.
    pub async fn models(&self, known: Option<&str>) -> Result<ModelSet, CallError> {
        let mut url = self.url(MODELS_PATH);
        if let Some(known) = known {
            url.query_pairs_mut().append_pair("known", known);
        }
        let request = self.http.get(url).timeout(MODELS_TIMEOUT);
        parse("models", &self.send("models", request).await?.1)
    }

    /// Tells what this worker holds.
    pub async fn model_states(&self, states: &ModelStates) -> Result<(), CallError> {
        self.post("model states", MODEL_STATES_PATH, states, CALL_TIMEOUT).await.map(drop)
    }

    /// Asks for a job, waiting up to [`ClaimRequest::wait_seconds`].
    pub async fn claim(&self, claim: &ClaimRequest) -> Result<Option<ClaimedJob>, CallError> {
        let wait = CALL_TIMEOUT + Duration::from_secs(claim.wait_seconds);
        match self.post("claim", CLAIM_PATH, claim, wait).await? {
            (StatusCode::NO_CONTENT, _) => Ok(None),
            (_, body) => parse("claim", &body).map(Some),
        }
    }

    /// Renews the lease of job `id`.
    pub async fn heartbeat(&self, id: &str, heartbeat: &Heartbeat) -> Result<HeartbeatReply, CallError> {
        let path = job_path(id, "heartbeat");
        parse("heartbeat", &self.post("heartbeat", &path, heartbeat, CALL_TIMEOUT).await?.1)
    }

    pub async fn complete(&self, id: &str, completion: &Completion) -> Result<(), CallError> {
        self.post("complete", &job_path(id, "complete"), completion, CALL_TIMEOUT).await.map(drop)
    }

    pub async fn fail(&self, id: &str, failure: &JobFailure) -> Result<(), CallError> {
        self.post("fail", &job_path(id, "fail"), failure, CALL_TIMEOUT).await.map(drop)
    }

    /// Gives a job back; the attempt does not count.
    pub async fn release(&self, id: &str, release: &Release) -> Result<(), CallError> {
        self.post("release", &job_path(id, "release"), release, CALL_TIMEOUT).await.map(drop)
    }

    pub async fn claim_import(&self) -> Result<ImportTask, CallError> {
        let answer =
            self.post("claim import", CLAIM_IMPORT_PATH, &serde_json::json!({}), CALL_TIMEOUT).await?;
        parse("claim import", &answer.1)
    }

    pub async fn import_progress(&self, progress: &ImportProgress) -> Result<(), CallError> {
        self.post("import progress", IMPORT_PROGRESS_PATH, progress, CALL_TIMEOUT).await.map(drop)
    }

    /// Asks where a file goes.
    pub async fn store_import(&self, request: &StoreRequest) -> Result<StorePlan, CallError> {
        let answer = self.post("store import", STORE_IMPORT_PATH, request, CALL_TIMEOUT).await?;
        parse("store import", &answer.1)
    }

    pub async fn complete_import(&self, done: &StoreDone) -> Result<(), CallError> {
        let timeout = COMPLETE_IMPORT_TIMEOUT;
        self.post("complete import", COMPLETE_IMPORT_PATH, done, timeout).await.map(drop)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    pub(super) async fn post(
        &self,
        call: &'static str,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let request = self.http.request(Method::POST, self.url(path)).json(body).timeout(timeout);
        self.send(call, request).await
    }

    async fn send(
        &self,
        call: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let unreachable =
            |error: reqwest::Error| CallError::Unreachable { call, source: error.without_url() };
        let request = request.header(AUTHORIZATION, self.token.header().await?);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if status.is_success() { Ok((status, body)) } else { Err(failure(call, status, &body)) }
    }
}

pub(super) fn parse<T: DeserializeOwned>(call: &'static str, body: &Bytes) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|source| CallError::Malformed { call, source })
}

fn failure(call: &'static str, status: StatusCode, body: &Bytes) -> CallError {
    if status == StatusCode::CONFLICT
        && let Ok(refusal) = serde_json::from_slice::<Refusal>(body)
    {
        return CallError::Refused { call, refusal };
    }
    let message: String = String::from_utf8_lossy(body).chars().take(MAX_ERROR_TEXT).collect();
    // 401: the token ran out between reading and checking, or the API server was away. 408, 429: not now.
    let passing = status.is_server_error() || matches!(status.as_u16(), 401 | 408 | 425 | 429);
    if passing {
        CallError::Unavailable { call, status, message }
    } else {
        CallError::Rejected { call, status, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_whether_to_repeat() {
        for (status, body, reason, retriable) in [
            (500, "boom", "FacadeUnavailable", true),
            (503, "", "FacadeUnavailable", true),
            (429, "", "FacadeUnavailable", true),
            (401, "", "FacadeUnavailable", true),
            (403, "no worker", "CallRejected", false),
            (404, "", "CallRejected", false),
            (409, r#"{"reason":"Stale","message":"held by attempt 2"}"#, "CallRefused", false),
            (409, "not json", "CallRejected", false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = failure("claim", status, &Bytes::from_static(body.as_bytes()));
            assert_eq!((error.reason(), error.retriable()), (reason, retriable), "{status}");
        }
    }
}
