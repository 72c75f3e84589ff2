//! Reading `config.json`: known keys, and a table of what is taken for granted.

use serde_json::Value;

use super::error::ConfigError;

/// A `config.json` with the component's name for messages; absent for single files.
pub(super) struct Json<'a> {
    pub component: &'static str,
    pub value: Option<&'a Value>,
}

impl Json<'_> {
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.value?.get(key).filter(|v| !v.is_null())
    }

    /// A positive integer, or the default if there is none.
    pub(super) fn usize(&self, key: &str, default: usize) -> Result<usize, ConfigError> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| self.unsupported(key, v, "a whole number".into())),
        }
    }

    pub(super) fn f64(&self, key: &str, default: f64) -> Result<f64, ConfigError> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v
                .as_f64()
                .filter(|n| n.is_finite() && *n > 0.0)
                .ok_or_else(|| self.unsupported(key, v, "a positive number".into())),
        }
    }

    /// Keys that may be absent or `null`, but if they are there must have this value: the code is
    /// written for it and would be silently wrong with any other.
    pub(super) fn require(&self, table: &[(&str, Value)]) -> Result<(), ConfigError> {
        for (key, want) in table {
            match self.get(key) {
                Some(value) if !same(value, want) => {
                    return Err(self.unsupported(key, value, want.to_string()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn unsupported(&self, key: &str, value: &Value, supported: String) -> ConfigError {
        ConfigError::Unsupported {
            component: self.component,
            key: key.to_owned(),
            value: value.to_string().chars().take(80).collect(),
            supported,
        }
    }
}

/// Equality that does not tell 1 from 1.0, which writers do not either.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}
