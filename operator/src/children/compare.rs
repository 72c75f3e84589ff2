//! Is everything that we want there already? What others or the API server's defaults added does not
//! count; what somebody changed does.

use serde_json::Value;

use crate::quantity::same_amount;

/// Is each field of `desired` in `live` with the same value? Lists must have the same length, except for
/// lists of owners and finalizers, to which others may add.
pub fn is_within(desired: &Value, live: &Value) -> bool {
    within(desired, live, Place::Plain)
}

/// What the surrounding field allows.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Plain,
    /// Strings are quantities, which the API server spells its own way.
    Quantities,
    /// A list that others may add to.
    OpenList,
}

impl Place {
    fn under(self, key: &str) -> Self {
        match key {
            "requests" | "limits" | "sizeLimit" | "capacity" => Self::Quantities,
            "ownerReferences" | "finalizers" => Self::OpenList,
            _ if self == Self::Quantities => Self::Quantities,
            _ => Self::Plain,
        }
    }
}

fn within(desired: &Value, live: &Value, place: Place) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().all(|(key, wanted)| {
            let place = place.under(key);
            live.get(key).map_or_else(|| is_empty(wanted), |found| within(wanted, found, place))
        }),
        (Value::Array(desired), Value::Array(live)) if place == Place::OpenList => {
            desired.iter().all(|wanted| live.iter().any(|found| within(wanted, found, Place::Plain)))
        }
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len() && desired.iter().zip(live).all(|(d, l)| within(d, l, place))
        }
        (Value::String(desired), Value::String(live)) if place == Place::Quantities => {
            same_amount(desired, live)
        }
        _ => desired == live,
    }
}

/// What the API server drops when it stores an object.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn additions_are_accepted_and_changes_are_found() {
        let desired = json!({
            "metadata": {"labels": {"a": "1"}, "ownerReferences": [{"uid": "u"}]},
            "spec": {
                "replicas": 1, "items": [{"name": "x", "env": [{"name": "E", "value": "500m"}]}],
                "resources": {"limits": {"cpu": "0.5"}}, "emptyDir": {}, "rules": [],
            },
        });
        let live = json!({
            "metadata": {"labels": {"a": "1", "b": "2"}, "ownerReferences": [{"uid": "v"}, {"uid": "u"}]},
            "spec": {
                "replicas": 1, "items": [{"name": "x", "more": 1, "env": [{"name": "E", "value": "500m"}]}],
                "resources": {"limits": {"cpu": "500m"}}, "emptyDir": {}, "paused": false,
            },
            "status": {},
        });
        assert!(is_within(&desired, &live));
        let changes: [(&str, Value); 6] = [
            ("/spec/replicas", json!(2)),
            ("/metadata/labels/a", json!("2")),
            ("/metadata/ownerReferences", json!([{"uid": "v"}])),
            ("/spec/items", json!([])),
            ("/spec/items/0/env/0/value", json!("0.5")),
            ("/spec/resources/limits/cpu", json!("501m")),
        ];
        for (path, value) in changes {
            let mut drifted = live.clone();
            *drifted.pointer_mut(path).unwrap() = value;
            assert!(!is_within(&desired, &drifted), "{path}");
        }
    }
}
