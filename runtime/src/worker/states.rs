//! Tells the facade which models this worker holds: at each change, and every half minute as a sign of life.

use std::sync::Arc;
use std::time::Duration;

use easel_protocol::FailureReport;
use easel_protocol::worker::ModelStates;
use tokio::time::{sleep, timeout};

use crate::engine::StateBoard;
use crate::error::chain;
use crate::facade::Facade;

/// The facade forgets a worker after three of these.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);
/// Changes that come together are told together: a small model is transferred and loaded within this.
const TOGETHER: Duration = Duration::from_millis(200);
/// A failed call is not repeated sooner; nobody waits for what it says.
const PAUSE: Duration = Duration::from_secs(5);
/// The process ends whether its last word is heard or not.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Runs until the process ends.
pub(super) async fn tell_states(facade: Facade, board: Arc<StateBoard>) -> FailureReport {
    let mut changes = board.changes();
    let mut told: Option<ModelStates> = None;
    loop {
        changes.borrow_and_update();
        let states = board.report();
        // With nothing to hold there is nothing to say, but that there was something.
        let silent = states.models.is_empty() && told.as_ref().is_none_or(|told| told.models.is_empty());
        if !silent {
            match facade.model_states(&states).await {
                Ok(()) => told = Some(states),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "cannot tell which models are held; trying again");
                    // A facade of an older version does not know the call.
                    sleep(if error.retriable() { PAUSE } else { SIGN_OF_LIFE }).await;
                    continue;
                }
            }
        }
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    // The board lives as long as the pool, and this task ends before it.
                    return FailureReport::new("BoardGone", "nobody says any more which models are held", true);
                }
                sleep(TOGETHER).await;
            }
            () = sleep(SIGN_OF_LIFE) => {}
        }
    }
}

/// The last word: a worker that ends well holds nothing any more. One that failed leaves what went wrong, until its
/// successor speaks or it is forgotten.
pub(super) async fn leave(facade: &Facade, board: &StateBoard, failed: bool) {
    let states = if failed { board.report() } else { ModelStates::default() };
    match timeout(LAST_WORD, facade.model_states(&states)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = %chain(&error), "cannot tell that no models are held any more")
        }
        Err(_) => tracing::warn!("the facade does not hear that no models are held any more"),
    }
}
