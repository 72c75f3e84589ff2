//! How far each Model is on its way into memory, for whoever wants to tell others.

use std::collections::BTreeMap;

use easel_protocol::FailureReport;
use easel_protocol::worker::{MAX_MODEL_STATES, ModelPhase, ModelState, ModelStates};
use tokio::sync::watch;

/// One line per Model. Clones of the receiver see each change.
#[derive(Debug)]
pub struct StateBoard {
    states: watch::Sender<BTreeMap<String, ModelState>>,
}

impl Default for StateBoard {
    fn default() -> Self {
        Self { states: watch::Sender::new(BTreeMap::new()) }
    }
}

impl StateBoard {
    /// A Model is on its way, or has arrived.
    pub(super) fn set(&self, model: &str, phase: ModelPhase) {
        self.write(ModelState { model: model.to_owned(), phase, failure: None });
    }

    /// A Model could not be loaded; said until it is tried again.
    pub(super) fn failed(&self, model: &str, failure: &FailureReport) {
        let failure = Some(failure.clone());
        self.write(ModelState { model: model.to_owned(), phase: ModelPhase::Failed, failure });
    }

    /// A Model is no longer in memory, nor on its way.
    pub(super) fn remove(&self, model: &str) {
        self.states.send_if_modified(|states| states.remove(model).is_some());
    }

    /// A transfer or a load was given up half way: its Model is nowhere. One that arrived stays.
    pub(super) fn given_up(&self, model: &str) {
        self.states.send_if_modified(|states| {
            let moving =
                |state: &ModelState| matches!(state.phase, ModelPhase::Downloading | ModelPhase::Loading);
            states.get(model).is_some_and(moving) && states.remove(model).is_some()
        });
    }

    /// What to tell now; where there are too many the least far come first.
    pub fn report(&self) -> ModelStates {
        let mut models: Vec<ModelState> = self.states.borrow().values().cloned().collect();
        models.sort_by(|a, b| (a.phase, &a.model).cmp(&(b.phase, &b.model)));
        models.truncate(MAX_MODEL_STATES);
        ModelStates { models }
    }

    /// Sees each change from now on.
    pub fn changes(&self) -> watch::Receiver<BTreeMap<String, ModelState>> {
        self.states.subscribe()
    }

    fn write(&self, state: ModelState) {
        self.states.send_if_modified(|states| {
            let same = states.get(&state.model) == Some(&state);
            if !same {
                states.insert(state.model.clone(), state);
            }
            !same
        });
    }
}

/// Takes a Model off the board when the way into memory is left before its end.
pub(super) struct OnItsWay<'a> {
    pub(super) board: &'a StateBoard,
    pub(super) model: &'a str,
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.board.given_up(self.model);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(board: &StateBoard) -> Vec<(String, ModelPhase)> {
        board.report().models.into_iter().map(|state| (state.model, state.phase)).collect()
    }

    #[test]
    fn a_model_stands_where_it_was_seen_last() {
        let board = StateBoard::default();
        let mut changes = board.changes();
        for phase in [ModelPhase::Downloading, ModelPhase::Downloading, ModelPhase::Loading] {
            board.set("a", phase);
        }
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        board.set("a", ModelPhase::Loading);
        assert!(!changes.has_changed().unwrap(), "the same again is no change");
        drop(OnItsWay { board: &board, model: "a" });
        assert_eq!(lines(&board), []);
        board.set("a", ModelPhase::Loaded);
        drop(OnItsWay { board: &board, model: "a" });
        board.failed("b", &FailureReport::new("Bad", "why", false));
        drop(OnItsWay { board: &board, model: "b" });
        let want = [("b".to_owned(), ModelPhase::Failed), ("a".to_owned(), ModelPhase::Loaded)];
        assert_eq!(lines(&board), want, "the least far first");
        board.remove("b");
        board.remove("b");
        assert_eq!(lines(&board).len(), 1);
    }

    #[test]
    fn a_report_is_bounded() {
        let board = StateBoard::default();
        (0..100).for_each(|n| board.set(&format!("m{n}"), ModelPhase::Loaded));
        board.set("slow", ModelPhase::Downloading);
        let report = board.report();
        assert_eq!((report.models.len(), report.models[0].model.as_str()), (MAX_MODEL_STATES, "slow"));
    }
}
