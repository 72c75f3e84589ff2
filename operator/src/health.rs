//! What this process knows about its own state, for `/readyz`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Without an answer about the lease for this long the API server counts as out of reach.
const LEASE_NEWS: Duration = Duration::from_secs(30);

/// Written by the election and the controllers, read by HTTP.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    holder: Option<String>,
    seen: Option<Instant>,
    working: bool,
    stopping: bool,
}

/// The body of `/readyz`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    pub ready: bool,
    /// `leader`, `standby` or `starting`.
    pub role: &'static str,
    /// Who holds the lease, if that is known.
    pub leader: Option<String>,
    /// Why it is not ready; empty when it is.
    pub reasons: Vec<Reason>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    pub reason: &'static str,
    pub message: &'static str,
}

impl Health {
    /// The API server answered about the lease.
    pub fn saw_lease(&self, holder: Option<&str>) {
        self.change(|state| {
            state.holder = holder.map(str::to_owned);
            state.seen = Some(Instant::now());
        });
    }

    /// The controllers were started, or have ended.
    pub fn set_working(&self, working: bool) {
        self.change(|state| state.working = working);
    }

    /// The process is about to end.
    pub fn set_stopping(&self) {
        self.change(|state| state.stopping = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How things are at `now`. A process that stands by is ready: it can take over.
    pub fn readiness(&self, now: Instant) -> Readiness {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reasons = Vec::new();
        let fresh = state.seen.is_some_and(|seen| now.saturating_duration_since(seen) < LEASE_NEWS);
        if !fresh {
            let message = "the API server did not answer about the lease for 30 s, or not yet";
            reasons.push(Reason { reason: "ApiServerUnreachable", message });
        }
        if state.stopping {
            reasons.push(Reason { reason: "Stopping", message: "the process was told to end" });
        }
        let role = match (state.working, state.seen) {
            (true, _) => "leader",
            (false, Some(_)) => "standby",
            (false, None) => "starting",
        };
        Readiness { ready: reasons.is_empty(), role, leader: state.holder.clone(), reasons }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_says_why_not() {
        let health = Health::default();
        let now = Instant::now();
        let reasons = |at| health.readiness(at).reasons.iter().map(|r| r.reason).collect::<Vec<_>>();
        assert_eq!((reasons(now), health.readiness(now).role), (vec!["ApiServerUnreachable"], "starting"));
        health.saw_lease(Some("other"));
        let standby = health.readiness(Instant::now());
        assert_eq!(
            (standby.ready, standby.role, standby.leader.as_deref()),
            (true, "standby", Some("other"))
        );
        health.set_working(true);
        assert_eq!(health.readiness(Instant::now()).role, "leader");
        assert_eq!(reasons(Instant::now() + LEASE_NEWS), ["ApiServerUnreachable"]);
        health.set_stopping();
        assert_eq!(reasons(Instant::now()), ["Stopping"]);
    }
}
