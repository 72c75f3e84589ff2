//! From the custom resources' types to [`super::views`].

use std::time::Duration;

use easel_crds::api_key::Scope as ScopeName;
use easel_crds::common::{UPLOAD_COMPLETED_ANNOTATION, condition};
use easel_crds::endpoint::{Limits, ModelPolicy};
use easel_crds::model::StoredFile;
use easel_crds::{ApiKey, Condition, Endpoint, LastFailure, Model};
use jiff::Timestamp;
use kube::ResourceExt;

use super::views::{ConditionView, EndpointView, FileView, KeyView, LimitsView, ModelView, Service};
use crate::auth::Scope;

pub(super) fn endpoint(object: &Endpoint) -> EndpointView {
    let (service, condition) = service(object);
    EndpointView {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        created: created(object).unwrap_or(Timestamp::UNIX_EPOCH),
        models: object.spec.models.iter().map(|model| model.name.clone()).collect(),
        any_model: object.spec.model_policy == ModelPolicy::Namespace,
        limits: limits(&object.spec.limits),
        replicas: u32::try_from(object.spec.replicas).unwrap_or(0),
        autoscaling: object.spec.autoscaling.is_some(),
        service,
        condition,
        last_failure: object.status.as_ref().and_then(|status| status.last_failure.as_ref()).map(sentence),
        served: object.status.as_ref().map_or_else(Vec::new, |status| status.models.clone()),
    }
}

/// One ready worker is enough to serve: `Ready` asks for all replicas and for the newest spec, and a roll-out
/// or the loss of one pod of several must not turn callers away.
fn service(object: &Endpoint) -> (Service, ConditionView) {
    let status = object.status.as_ref();
    let conditions = status.map_or(&[][..], |status| status.conditions.as_slice());
    let find = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind);
    let ready = find(condition::READY).map_or_else(
        || ConditionView::absent("the operator has not looked at this Endpoint yet"),
        condition_view,
    );
    if object.spec.suspend {
        let message = "spec.suspend is set; set it to false to bring the workers back".to_owned();
        return (
            Service::Failed,
            ConditionView { holds: false, reason: "Suspended".into(), message, ..ready },
        );
    }
    if ready.holds || status.is_some_and(|status| status.ready_replicas > 0) {
        return (Service::InService, ready);
    }
    match find(condition::STALLED).map(condition_view) {
        Some(stalled) if stalled.holds => (Service::Failed, stalled),
        _ => (Service::Starting, ready),
    }
}

fn limits(limits: &Limits) -> LimitsView {
    LimitsView {
        max_pixels: limits.max_pixels,
        max_steps: limits.max_steps,
        max_pictures: limits.max_batch,
        timeout: Duration::from_secs(limits.timeout_seconds.into()),
        max_pending: limits.max_pending,
    }
}

pub(super) fn model(object: &Model) -> ModelView {
    let status = object.status.as_ref();
    let ready = status
        .and_then(|status| status.conditions.iter().find(|condition| condition.type_ == condition::READY))
        .map_or_else(
            || ConditionView::absent("the operator has not looked at this Model yet"),
            condition_view,
        );
    let files = status.map_or(&[][..], |status| status.files.as_slice());
    let name = object.name_any();
    ModelView {
        namespace: object.namespace().unwrap_or_default(),
        display_name: object.spec.display_name.clone().unwrap_or_else(|| name.clone()),
        name,
        uid: object.uid().unwrap_or_default(),
        model_type: object.spec.r#type.as_str().to_owned(),
        source: super::source::source(
            &object.spec.source,
            object.annotations().contains_key(UPLOAD_COMPLETED_ANNOTATION),
        ),
        ready,
        files: files.iter().map(stored_file).collect(),
        trigger_words: status.map_or_else(Vec::new, |status| status.trigger_words.clone()),
    }
}

pub(super) fn stored_file(file: &StoredFile) -> FileView {
    FileView {
        name: file.name.clone(),
        key: file.key.clone(),
        sha256: file.sha256.clone(),
        size_bytes: file.size_bytes,
    }
}

/// A key whose hash is no hash can match nothing and is left out.
pub(super) fn key(object: &ApiKey) -> Option<KeyView> {
    let sha256: [u8; 32] = hex::decode(&object.spec.key_sha256).ok()?.try_into().ok()?;
    Some(KeyView {
        namespace: object.namespace()?,
        name: object.name_any(),
        created: created(object),
        sha256,
        endpoint: object.spec.endpoint_ref.as_ref().map(|endpoint| endpoint.name.clone()),
        scopes: object.spec.scopes.iter().map(|scope| self::scope(*scope)).collect(),
        expires: object.spec.expires_at.as_ref().map(|time| time.0),
        suspended: object.spec.suspend,
    })
}

fn scope(scope: ScopeName) -> Scope {
    match scope {
        ScopeName::Inference => Scope::Inference,
        ScopeName::Models => Scope::Models,
        ScopeName::Training => Scope::Training,
        ScopeName::Admin => Scope::Admin,
    }
}

pub(super) fn created<K: ResourceExt>(object: &K) -> Option<Timestamp> {
    object.creation_timestamp().map(|time| time.0)
}

pub(super) fn condition_view(condition: &Condition) -> ConditionView {
    ConditionView {
        holds: condition.status == "True",
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        since: Some(condition.last_transition_time.0),
    }
}

pub(super) fn sentence(failure: &LastFailure) -> String {
    format!("{}: {}", failure.reason, failure.message)
}

/// Views of objects as the API server has them, for tests.
#[cfg(test)]
pub(crate) mod testing {
    use serde_json::Value;

    use super::{EndpointView, ModelView};

    pub(crate) fn model(object: &Value) -> ModelView {
        super::model(&serde_json::from_value(object.clone()).expect("a Model"))
    }

    pub(crate) fn endpoint(object: &Value) -> EndpointView {
        super::endpoint(&serde_json::from_value(object.clone()).expect("an Endpoint"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(spec: &Value, status: &Value) -> EndpointView {
        let object = json!({
            "apiVersion": "easel.dev/v1alpha1", "kind": "Endpoint",
            "metadata": {"name": "demo", "namespace": "team", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": spec, "status": status,
        });
        endpoint(&serde_json::from_value(object).expect("an Endpoint"))
    }

    fn with_condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "why",
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn an_endpoint_serves_while_one_worker_is_ready() {
        let ready = |status, reason| with_condition("Ready", status, reason);
        let stalled = with_condition("Stalled", "True", "InvalidImageName");
        let plain = json!({"models": [{"name": "m"}]});
        let suspended = json!({"models": [{"name": "m"}], "suspend": true});
        let cases = [
            ("no status", &plain, json!({}), Service::Starting, "Pending"),
            ("ready", &plain, json!({"conditions": [ready("True", "Ready")]}), Service::InService, "Ready"),
            (
                "rolling out",
                &plain,
                json!({"conditions": [ready("False", "RollingOut")], "readyReplicas": 1}),
                Service::InService,
                "RollingOut",
            ),
            (
                "no pod fits",
                &plain,
                json!({"conditions": [ready("False", "Unschedulable")]}),
                Service::Starting,
                "Unschedulable",
            ),
            (
                "stalled",
                &plain,
                json!({"conditions": [ready("False", "X"), stalled]}),
                Service::Failed,
                "InvalidImageName",
            ),
            (
                "suspended",
                &suspended,
                json!({"conditions": [ready("True", "Ready")]}),
                Service::Failed,
                "Suspended",
            ),
        ];
        for (name, spec, status, service, reason) in cases {
            let view = object(spec, &status);
            assert_eq!((view.service, view.condition.reason.as_str()), (service, reason), "{name}");
        }
    }

    #[test]
    fn a_key_without_a_proper_hash_is_left_out() {
        let object = |hash: &str| {
            let object = json!({
                "apiVersion": "easel.dev/v1alpha1", "kind": "ApiKey",
                "metadata": {"name": "k", "namespace": "team"}, "spec": {"keySha256": hash},
            });
            key(&serde_json::from_value(object).expect("an ApiKey"))
        };
        assert!(object("zz").is_none());
        assert!(object(&"ab".repeat(31)).is_none());
        let view = object(&"ab".repeat(32)).expect("a key");
        assert_eq!((view.sha256, view.scopes), ([0xab; 32], vec![Scope::Inference]));
    }
}
