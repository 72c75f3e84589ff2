//! A short text that changes exactly when an object that we build changes.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Hash of an object's JSON: 16 hex digits, enough to tell versions of one object apart.
pub fn fingerprint<T: Serialize>(object: &T) -> String {
    // Through a Value, whose maps are sorted.
    let value = serde_json::to_value(object).expect("Kubernetes types and strings serialise");
    sha256_hex(value.to_string().as_bytes())[..16].to_owned()
}

/// SHA-256 as 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_does_not_matter_and_values_do() {
        assert_eq!(fingerprint(&json!({"a": 1, "b": 2})), fingerprint(&json!({"b": 2, "a": 1})));
        assert_ne!(fingerprint(&json!({"a": 1})), fingerprint(&json!({"a": 2})));
    }
}
