//! The cases, written in YAML: one file per kind in `rules/`.
//!
//! `base` is an object that is accepted. Each case changes it by merge patches (RFC 7386). A case for a rule
//! on creation makes one object with `break`, which is refused, and one with `keep`, which is accepted. A case
//! for a rule on update makes an object with `from`, updates it with `keep`, then with `break`.

use serde::Deserialize;
use serde_json::Value;

/// All cases of a kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    pub kind: String,
    pub base: Value,
    pub cases: Vec<Case>,
}

/// How one rule is broken and kept.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Where the rule stands, as in the reference page; empty for the whole object.
    #[serde(default)]
    pub path: String,
    pub message: String,
    #[serde(default)]
    pub from: Value,
    #[serde(default)]
    pub keep: Value,
    pub r#break: Value,
}

/// The fixtures of all kinds.
pub fn fixtures() -> Vec<Fixture> {
    [
        include_str!("rules/endpoint.yaml"),
        include_str!("rules/model.yaml"),
        include_str!("rules/training_job.yaml"),
        include_str!("rules/dataset.yaml"),
        include_str!("rules/api_key.yaml"),
    ]
    .into_iter()
    .map(|text| serde_saphyr::from_str(text).expect("a fixture"))
    .collect()
}

/// `base` changed by a merge patch; no patch changes nothing.
pub fn merged(base: &Value, patch: &Value) -> Value {
    let mut object = base.clone();
    if !patch.is_null() {
        merge(&mut object, patch);
    }
    object
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, change) in changes {
        if change.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}
