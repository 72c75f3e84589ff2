//! The checkpoints of a run as the object store has them: what is there counts, not what a status says. Each is a
//! folder of files whose last is a card, `*.json`; without it the others are what a killed trainer has left.

use easel_store::objects::ObjectKey;

use crate::app::App;
use crate::folders::step_of;
use crate::worker_api::error::WorkerError;

const PAGE: u32 = 1000;
/// A run has at most a hundred checkpoints of a few files; what is beyond this was not put there by one.
const PAGES: usize = 16;

/// One checkpoint, whole or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub step: u64,
    pub files: Vec<File>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub name: String,
    pub key: ObjectKey,
    pub size: u64,
}

/// Is this the name of a card?
pub(super) fn is_card(name: &str) -> bool {
    name.ends_with(".json")
}

impl State {
    pub(super) fn is_complete(&self) -> bool {
        self.files.iter().any(|file| is_card(&file.name))
    }
}

/// Every checkpoint below the folder of a run, from the oldest step.
pub(super) async fn list(app: &App, folder: &str) -> Result<Vec<State>, WorkerError> {
    let (mut states, mut after) = (Vec::<State>::new(), None::<String>);
    let prefix = format!("{folder}step-");
    for _ in 0..PAGES {
        let page = app.objects.list(&prefix, after.as_deref(), PAGE).await?;
        for listed in page.objects {
            let place = listed.key.strip_prefix(folder).and_then(step_of);
            let Some((step, name)) = place.and_then(|(step, rest)| Some((step, rest.strip_prefix('/')?)))
            else {
                continue;
            };
            let Ok(key) = listed.key.parse() else { continue };
            let file = File { name: name.to_owned(), key, size: listed.size };
            match states.last_mut() {
                Some(last) if last.step == step => last.files.push(file),
                _ => states.push(State { step, files: vec![file] }),
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(states)
}

/// Deletes what comes before the `keep` newest whole ones. The card goes first, so that a deletion that stops
/// half-way leaves nothing that looks whole.
pub(super) async fn prune(app: &App, folder: &str, keep: u32) -> Result<(), WorkerError> {
    let states = list(app, folder).await?;
    let whole: Vec<u64> = states.iter().filter(|state| state.is_complete()).map(|state| state.step).collect();
    let kept = whole.len().saturating_sub(usize::try_from(keep.max(1)).unwrap_or(usize::MAX));
    let Some(oldest) = whole.get(kept) else { return Ok(()) };
    for mut state in states.into_iter().filter(|state| state.step < *oldest) {
        state.files.sort_by_key(|file| !is_card(&file.name));
        for file in state.files {
            app.objects.delete(&file.key).await?;
        }
    }
    Ok(())
}
