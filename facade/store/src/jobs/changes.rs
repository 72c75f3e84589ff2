//! Waking those who wait for a change of an endpoint's jobs (long polls).
//!
//! Inside one process a change wakes at once. Another facade on the same PostgreSQL, and a job that waits
//! after a failure, are noticed by looking again every second: a job takes longer than that, and neither
//! database needs a connection set apart for notices.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Longest time between two looks at the database while waiting.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

type Queue = (String, String);

/// The process's bell for each endpoint that somebody waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Bells(Arc<Mutex<HashMap<Queue, watch::Sender<()>>>>);

impl Bells {
    pub(super) fn listen(&self, namespace: &str, endpoint: &str) -> Changes {
        // A panic between these lines cannot leave the map half changed.
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|_, bell| !bell.is_closed());
        let bell = bells.entry((namespace.to_owned(), endpoint.to_owned())).or_default();
        Changes { heard: bell.subscribe() }
    }

    pub(super) fn ring(&self, namespace: &str, endpoint: &str) {
        let bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(&(namespace.to_owned(), endpoint.to_owned())) {
            bell.send_replace(());
        }
    }
}

/// Changes of one endpoint's jobs since it was made or last waited on. Make it before looking at the store,
/// so that no change falls between the look and the wait.
#[derive(Debug)]
pub struct Changes {
    heard: watch::Receiver<()>,
}

impl Changes {
    /// Returns at the next change, or after `at_most`, or when it is time to look again (1 s).
    pub async fn wait(&mut self, at_most: Duration) {
        let limit = at_most.min(LOOK_AGAIN);
        // Time-out and bell mean the same to the caller, and the sender may be gone only with the store.
        if let Ok(Err(_closed)) = tokio::time::timeout(limit, self.heard.changed()).await {
            tokio::time::sleep(limit).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_endpoint_that_changed_wakes() {
        let bells = Bells::default();
        let (mut a, mut b) = (bells.listen("ns", "a"), bells.listen("ns", "b"));
        bells.ring("ns", "a");
        let long = Duration::from_secs(9);
        let woken = async |changes: &mut Changes, within| {
            tokio::time::timeout(within, changes.wait(long)).await.is_ok()
        };
        assert!(woken(&mut a, LOOK_AGAIN / 2).await, "rung before the wait");
        assert!(!woken(&mut b, LOOK_AGAIN / 10).await, "not rung");
        assert!(!woken(&mut a, LOOK_AGAIN / 10).await, "one ring wakes once");
        assert!(woken(&mut b, long).await, "time to look again");
    }

    #[test]
    fn bells_that_nobody_hears_are_taken_down() {
        let bells = Bells::default();
        drop(bells.listen("ns", "a"));
        let _b = bells.listen("ns", "b");
        assert_eq!(bells.0.lock().unwrap().len(), 1);
    }
}
