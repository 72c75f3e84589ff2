//! Conditions whose transition times only change with their status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

pub const READY: &str = "Ready";
pub const RECONCILING: &str = "Reconciling";
pub const STALLED: &str = "Stalled";

/// Longest message of a condition; the API allows 32768, a person reads less.
const MAX_MESSAGE: usize = 2048;

/// Makes the conditions of one object, one at a time.
pub struct Conditions<'a> {
    old: &'a [Condition],
    generation: Option<i64>,
    now: Timestamp,
    made: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    /// `old` are the conditions now in the status, `generation` is what was looked at.
    pub fn new(old: &'a [Condition], generation: Option<i64>, now: Timestamp) -> Self {
        Self { old, generation, now, made: Vec::new() }
    }

    /// Adds a condition.
    pub fn set(&mut self, type_: &str, holds: bool, reason: &str, message: &str) -> &mut Self {
        let status = if holds { "True" } else { "False" };
        let before = find(self.old, type_).filter(|old| old.status == status);
        // Whole seconds, as the API server stores them: the next comparison finds no difference.
        let now = Timestamp::from_second(self.now.as_second()).unwrap_or(self.now);
        self.made.push(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: shorten(message),
            observed_generation: self.generation,
            last_transition_time: before.map_or(Time(now), |old| old.last_transition_time.clone()),
        });
        self
    }

    /// Adds a condition that is `True` for a reason, and `False` when there is none.
    pub fn flag(&mut self, type_: &str, why: Option<(&str, &str)>, otherwise: &str) -> &mut Self {
        let (reason, message) = why.unwrap_or((otherwise, ""));
        self.set(type_, why.is_some(), reason, message)
    }

    /// Adds the old condition of a type as it is, if there is one: it speaks of the generation of before.
    pub fn keep(&mut self, type_: &str) -> &mut Self {
        self.made.extend(find(self.old, type_).cloned());
        self
    }

    /// What was made, in the order it was added.
    pub fn finish(self) -> Vec<Condition> {
        self.made
    }
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Does the condition stand at `True`?
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}

fn shorten(message: &str) -> String {
    message.chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_changes_with_the_status_only() {
        let early = Timestamp::from_second(100).unwrap();
        let late = Timestamp::from_millisecond(200_700).unwrap();
        let mut first = Conditions::new(&[], Some(1), early);
        first.set(READY, false, "Waiting", "for it").set(STALLED, false, "Waiting", "");
        let old = first.finish();
        let mut second = Conditions::new(&old, Some(2), late);
        second.set(READY, true, "Ready", "").set(STALLED, false, "Fine", "");
        let new = second.finish();
        let seconds = |c: &Condition| c.last_transition_time.0.as_second();
        assert_eq!((seconds(&new[0]), seconds(&new[1])), (200, 100));
        assert_eq!(new[0].last_transition_time.0.subsec_nanosecond(), 0);
        assert!(new.iter().all(|c| c.observed_generation == Some(2)));
        assert!(is_true(&new, READY) && !is_true(&old, READY) && !is_true(&new, "Unknown"));
    }
}
