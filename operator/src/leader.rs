//! Leader election by a `coordination.k8s.io/v1` Lease: one process works, the others stand by.
//!
//! Guarantee: a process that is not sure to hold the lease writes nothing (the client's fence opens for one
//! lease duration, counted from before each renewal) and ends. Times of other machines are not trusted: a
//! lease has run out when its record did not change for its own duration by our clock.
//! Two processes never win together, because each update names the resourceVersion that it read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use tokio::time::sleep;

use crate::backoff::jittered;
use crate::client::Fence;
use crate::health::Health;
use crate::labels::FIELD_MANAGER;

/// How long a lease holds without renewal: the longest time without a leader after a crash.
const LEASE: Duration = Duration::from_secs(15);
/// A leader that could not renew for this long ends. Less than [`LEASE`], so that it has ended before
/// another one may begin.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between attempts to renew or to take.
const RETRY: Duration = Duration::from_secs(2);
/// Longest wait for one answer; several fit into the deadline.
const CALL_LIMIT: Duration = Duration::from_secs(3);

/// The lease was lost, or could not be renewed in time.
#[derive(Debug, thiserror::Error)]
pub enum LostLease {
    #[error("the lease {lease} is now held by {holder}")]
    Taken { lease: String, holder: String },
    #[error("the lease {lease} could not be renewed within {} s", RENEW_DEADLINE.as_secs())]
    NotRenewed { lease: String },
}

/// A lease that changed in the same moment, or an API server that does not answer: try again.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("cannot read or write the lease")]
    Api(#[from] kube::Error),
    #[error("no answer about the lease within {} s", CALL_LIMIT.as_secs())]
    NoAnswer,
}

/// A candidate.
pub struct Elector {
    api: Api<Lease>,
    name: String,
    identity: String,
    fence: Fence,
    health: Arc<Health>,
    /// The record of another holder as it was first seen, and when.
    observed: Option<(String, Instant)>,
}

/// What to do about a lease.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Create,
    /// It is ours: renew.
    Renew,
    /// It is free or has run out: take it.
    Take,
    /// Somebody holds it.
    Wait,
}

impl Elector {
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        fence: Fence,
        health: Arc<Health>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            fence,
            health,
            observed: None,
        }
    }

    /// Waits until the lease is ours.
    pub async fn acquire(&mut self) {
        loop {
            match self.attempt().await {
                Ok(None) => {
                    tracing::info!(lease = self.name, identity = self.identity, "took the lease");
                    return;
                }
                Ok(Some(holder)) => tracing::debug!(lease = self.name, holder, "standing by"),
                Err(error) => tracing::warn!(lease = self.name, %error, "cannot ask for the lease"),
            }
            sleep(jittered(RETRY)).await;
        }
    }

    /// Renews the lease for as long as that works.
    pub async fn hold(&mut self) -> LostLease {
        let mut renewed = Instant::now();
        loop {
            sleep(RETRY).await;
            match self.attempt().await {
                Ok(None) => renewed = Instant::now(),
                Ok(Some(holder)) => {
                    self.fence.close();
                    return LostLease::Taken { lease: self.name.clone(), holder };
                }
                Err(error) => tracing::warn!(lease = self.name, %error, "cannot renew the lease"),
            }
            if renewed.elapsed() >= RENEW_DEADLINE {
                self.fence.close();
                return LostLease::NotRenewed { lease: self.name.clone() };
            }
        }
    }

    /// Gives the lease up, so that another process need not wait for its end. No writes from here on.
    pub async fn release(&mut self) {
        self.fence.close();
        let released = async {
            let Some(lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
            if holder(&lease) != self.identity {
                return Ok(());
            }
            let spec = LeaseSpec {
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(1),
                ..lease.spec.clone().unwrap_or_default()
            };
            self.write(&Lease { spec: Some(spec), ..lease }).await
        };
        match tokio::time::timeout(CALL_LIMIT, released).await {
            Ok(Ok(())) => tracing::info!(lease = self.name, "gave the lease up"),
            Ok(Err(error)) => tracing::warn!(lease = self.name, %error, "cannot give the lease up"),
            Err(_) => tracing::warn!(lease = self.name, "cannot give the lease up: no answer"),
        }
    }

    /// One attempt to take or to renew. `None`: it is ours; `Some`: who holds it.
    async fn attempt(&mut self) -> Result<Option<String>, CallError> {
        let asked = Instant::now();
        let answer = tokio::time::timeout(CALL_LIMIT, self.ask(asked)).await;
        let answer = answer.unwrap_or(Err(CallError::NoAnswer));
        match &answer {
            Ok(None) => {
                self.fence.open(asked, LEASE);
                self.health.saw_lease(Some(&self.identity));
            }
            Ok(Some(holder)) => self.health.saw_lease(Some(holder)),
            Err(_) => {}
        }
        answer
    }

    async fn ask(&mut self, now: Instant) -> Result<Option<String>, CallError> {
        let live = self.api.get_opt(&self.name).await?;
        let step = self.decide(live.as_ref(), now);
        let spec = |transitions: i32, acquired: Option<MicroTime>| LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: acquired.or_else(|| Some(MicroTime(Timestamp::now()))),
            renew_time: Some(MicroTime(Timestamp::now())),
            lease_transitions: Some(transitions),
            ..Default::default()
        };
        let old = live.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let transitions = old.lease_transitions.unwrap_or(0);
        match (step, live) {
            (Step::Wait, live) => return Ok(live.as_ref().map(holder)),
            (Step::Renew, Some(lease)) => {
                self.write(&Lease { spec: Some(spec(transitions, old.acquire_time)), ..lease }).await?;
            }
            (Step::Take, Some(lease)) => {
                let spec = spec(transitions.saturating_add(1), None);
                self.write(&Lease { spec: Some(spec), ..lease }).await?;
            }
            (Step::Create | Step::Renew | Step::Take, _) => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..Default::default() };
                let lease = Lease { metadata, spec: Some(spec(0, None)) };
                self.api.create(&params(), &lease).await?;
            }
        }
        self.observed = None;
        Ok(None)
    }

    /// Replaces the lease; refused if it changed since it was read.
    async fn write(&self, lease: &Lease) -> Result<(), kube::Error> {
        self.api.replace(&self.name, &params(), lease).await.map(|_| ())
    }

    fn decide(&mut self, live: Option<&Lease>, now: Instant) -> Step {
        let Some(lease) = live else { return Step::Create };
        let holder = holder(lease);
        if holder == self.identity {
            return Step::Renew;
        }
        if holder.is_empty() {
            return Step::Take;
        }
        let version = lease.resource_version().unwrap_or_default();
        let since = match &self.observed {
            Some((seen, since)) if *seen == version => *since,
            _ => {
                self.observed = Some((version, now));
                now
            }
        };
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        if now.saturating_duration_since(since) >= duration { Step::Take } else { Step::Wait }
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() }
}

fn holder(lease: &Lease) -> String {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
