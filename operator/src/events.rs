//! Kubernetes events: what a person would want to know, once per change.

use easel_crds::{Condition, LastFailure};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};

use crate::conditions::{READY, find};
use crate::context::Ctx;

/// Longest note that the API accepts.
const MAX_NOTE: usize = 1024;

/// The parts of a status that events speak of.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    pub conditions: &'a [Condition],
    pub failure: Option<&'a LastFailure>,
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub warning: bool,
    pub reason: String,
    pub note: String,
}

/// What changed between two statuses: a new failure, and Ready with another status or reason.
pub fn changes(before: Told<'_>, after: Told<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    let same_failure =
        |new: &LastFailure| before.failure.is_some_and(|old| old.reason == new.reason && old.pod == new.pod);
    let failure = after.failure.filter(|new| !same_failure(new));
    if let Some(new) = failure {
        let pod = new.pod.as_ref().map(|pod| format!("pod {pod}: ")).unwrap_or_default();
        changes.push(change(true, &new.reason, format!("{pod}{}", new.message)));
    }
    let (old, new) = (find(before.conditions, READY), find(after.conditions, READY));
    let said = |condition: &Condition| (condition.status.clone(), condition.reason.clone());
    if let Some(new) = new.filter(|new| old.map(said) != Some(said(new))) {
        let told = failure.is_some_and(|failure| failure.reason == new.reason);
        if !told {
            changes.push(change(false, &new.reason, new.message.clone()));
        }
    }
    changes
}

fn change(warning: bool, reason: &str, note: String) -> Change {
    let note = note.chars().scan(0, |bytes, c| {
        *bytes += c.len_utf8();
        (*bytes <= MAX_NOTE).then_some(c)
    });
    Change { warning, reason: reason.to_owned(), note: note.collect() }
}

/// Sends events. A lost event is no reason to fail a reconcile.
pub async fn publish(ctx: &Ctx, kind: &str, about: &ObjectReference, changes: &[Change]) {
    for change in changes {
        let type_ = if change.warning { EventType::Warning } else { EventType::Normal };
        if change.warning {
            ctx.metrics.failures.with_label_values(&[kind, &change.reason]).inc();
        }
        let event = Event {
            type_,
            reason: change.reason.clone(),
            note: Some(change.note.clone()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = ctx.events.publish(&event, about).await {
            tracing::warn!(%error, reason = change.reason, object = ?about.name, "cannot publish an event");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ready(status: &str, reason: &str) -> Vec<Condition> {
        serde_json::from_value(json!([{"type": "Ready", "status": status, "reason": reason,
            "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}]))
        .unwrap()
    }

    fn failure(reason: &str, pod: &str) -> LastFailure {
        serde_json::from_value(json!({"reason": reason, "message": "f", "retriable": true,
            "time": "2026-01-01T00:00:00Z", "pod": pod}))
        .unwrap()
    }

    #[test]
    fn each_change_is_told_once() {
        let (waiting, fine) = (ready("False", "Progressing"), ready("True", "Ready"));
        let (failed, other) = (ready("False", "OOMKilled"), failure("OOMKilled", "p2"));
        let oom = failure("OOMKilled", "p1");
        let cases = [
            ("first look", (&[][..], None), (&waiting[..], None), vec!["Progressing"]),
            ("nothing new", (&waiting, None), (&waiting, None), vec![]),
            ("becomes ready", (&waiting, None), (&fine, None), vec!["Ready"]),
            ("fails", (&fine, None), (&failed, Some(&oom)), vec!["!OOMKilled"]),
            ("still failed", (&failed, Some(&oom)), (&failed, Some(&oom)), vec![]),
            ("another pod fails", (&failed, Some(&oom)), (&failed, Some(&other)), vec!["!OOMKilled"]),
            ("recovers", (&failed, Some(&oom)), (&fine, Some(&oom)), vec!["Ready"]),
        ];
        for (name, before, after, want) in cases {
            let told = |(conditions, failure)| Told { conditions, failure };
            let got: Vec<String> = changes(told(before), told(after))
                .iter()
                .map(|c| format!("{}{}", if c.warning { "!" } else { "" }, c.reason))
                .collect();
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn notes_fit_the_api() {
        assert_eq!(change(false, "Long", "é".repeat(2000)).note.len(), MAX_NOTE);
    }
}
