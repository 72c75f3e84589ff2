//! Server-side apply in small: objects are merged by key, lists are replaced, and what a manager applied
//! before and applies no longer is removed.

use serde_json::Value;

/// `live` after a manager applies `new`, having applied `old` before.
pub fn apply(live: &Value, old: Option<&Value>, new: &Value) -> Value {
    let mut result = live.clone();
    if let Some(old) = old {
        subtract(&mut result, old, new);
    }
    merge(&mut result, new);
    result
}

fn subtract(target: &mut Value, old: &Value, new: &Value) {
    let (Value::Object(target), Value::Object(old)) = (target, old) else { return };
    for (key, before) in old {
        match (target.get_mut(key), new.get(key)) {
            (Some(inner), Some(now)) => subtract(inner, before, now),
            (Some(_), None) => {
                target.remove(key);
            }
            (None, _) => {}
        }
    }
}

/// Merges `new` into `target`.
pub fn merge(target: &mut Value, new: &Value) {
    match (target, new) {
        (Value::Object(target), Value::Object(new)) => {
            for (key, value) in new.iter().filter(|(_, value)| !value.is_null()) {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, new) => *target = new.clone(),
    }
}
