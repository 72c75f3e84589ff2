//! The parameters of a run as clients write them: `db_config` of the reference's trainer. Each key is taken out once;
//! what is left had no effect, and the client is told.

use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use super::error::TrainingError;
use crate::dialects::aws::numbers::{Flag, Real, Whole};

/// Keys and values, and what they are called in messages.
pub(super) struct Config {
    place: String,
    fields: Map<String, Value>,
}

impl Config {
    pub(super) fn new(place: impl Into<String>, fields: Map<String, Value>) -> Self {
        Self { place: place.into(), fields }
    }

    /// What a key is called in messages.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }

    /// Unset, null and the empty text are the same.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, TrainingError> {
        let value = self.fields.remove(key);
        let Some(value) = value.filter(|value| !value.is_null() && value.as_str() != Some("")) else {
            return Ok(None);
        };
        let read = serde_json::from_value(value);
        read.map(Some).map_err(|error| TrainingError::field(self.name(key), error.to_string()))
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, TrainingError> {
        self.take(key)
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, TrainingError> {
        Ok(self.take::<Flag>(key)?.map(|flag| flag.0))
    }

    /// -1 stands for "none", as everywhere in the reference.
    pub(super) fn whole(&mut self, key: &str) -> Result<Option<u64>, TrainingError> {
        let Some(Whole(number)) = self.take(key)? else { return Ok(None) };
        match u64::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) if number == -1 => Ok(None),
            Err(_) => Err(TrainingError::field(self.name(key), format!("{number} is below 0 or too large"))),
        }
    }

    pub(super) fn real(&mut self, key: &str) -> Result<Option<f64>, TrainingError> {
        Ok(self.take::<Real>(key)?.map(f64::from))
    }

    /// A number as the objects write it: a decimal text.
    pub(super) fn decimal(&mut self, key: &str) -> Result<Option<String>, TrainingError> {
        let Some(number) = self.real(key)? else { return Ok(None) };
        match decimal(number) {
            Some(text) => Ok(Some(text)),
            None => Err(TrainingError::field(self.name(key), format!("{number} is below 0 or too large"))),
        }
    }

    /// The keys that nobody has taken.
    pub(super) fn left(self) -> impl Iterator<Item = String> {
        let Self { place, fields } = self;
        fields.into_iter().map(move |(key, _)| format!("{place}.{key} has no effect here"))
    }
}

/// At most 16 characters, as the schema asks; `None` below 0 and where two digits of exponent do not do.
pub(super) fn decimal(number: f64) -> Option<String> {
    if !number.is_finite() || number < 0.0 || (number != 0.0 && !(1e-99..1e99).contains(&number)) {
        return None;
    }
    let shortest = [format!("{number}"), format!("{number:e}"), format!("{number:.8e}")];
    shortest.into_iter().find(|text| text.len() <= 16)
}

/// Puts a value under its name if there is one.
pub(super) fn set<T: Into<Value>>(out: &mut Map<String, Value>, name: &str, value: Option<T>) {
    if let Some(value) = value {
        out.insert(name.to_owned(), value.into());
    }
}

/// A whole number as JSON.
pub(super) fn number(value: u64) -> Value {
    Value::Number(Number::from(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn decimals_are_what_the_schema_takes() {
        let cases = [
            (2e-6, Some("0.000002")),
            (1e-4, Some("0.0001")),
            (0.75, Some("0.75")),
            (1.0, Some("1")),
            (0.0, Some("0")),
            (1e-12, Some("0.000000000001")),
            (1e-20, Some("1e-20")),
            (1.0 / 3.0, Some("3.33333333e-1")),
            (-1.0, None),
            (1e-120, None),
            (f64::NAN, None),
        ];
        for (number, want) in cases {
            assert_eq!(decimal(number).as_deref(), want, "{number}");
        }
    }

    #[test]
    fn what_nobody_takes_is_told() {
        let fields = json!({"seed": -1, "epochs": "3", "use_ema": "true", "rate": "", "odd": [1]});
        let Value::Object(fields) = fields else { unreachable!("an object") };
        let mut config = Config::new("config_params", fields);
        assert_eq!(config.whole("seed").expect("none"), None);
        assert_eq!(config.whole("epochs").expect("a number"), Some(3));
        assert_eq!(config.flag("use_ema").expect("a flag"), Some(true));
        assert_eq!(config.real("rate").expect("none"), None);
        assert_eq!(config.left().collect::<Vec<_>>(), ["config_params.odd has no effect here"]);
        let mut wrong = Config::new("c", Map::from_iter([("n".to_owned(), json!(-2))]));
        assert_eq!(wrong.whole("n").expect_err("below 0").to_string(), "c.n: -2 is below 0 or too large");
    }
}
