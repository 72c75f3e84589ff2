//! JSON as this API's clients write it: with any content type, with Python's bare `Infinity` and `NaN`
//! (specs/aws-extension.md §6), and with fields that nobody knows.

use std::borrow::Cow;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::AwsError;
use crate::app::App;
use crate::http::body;

/// A body of this dialect.
pub struct AwsJson<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for AwsJson<T> {
    type Rejection = AwsError;

    async fn from_request(request: Request, app: &App) -> Result<Self, AwsError> {
        let (parts, body) = request.into_parts();
        let bytes = body::read(&parts.headers, body, app.config.max_body_bytes).await?;
        parse(&bytes).map(Self)
    }
}

impl<T: Serialize> IntoResponse for AwsJson<T> {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

/// A query string of this dialect.
pub struct AwsQuery<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for AwsQuery<T> {
    type Rejection = AwsError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, AwsError> {
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(query)| Self(query)).map_err(|rejection| AwsError::Field {
            field: "query string".into(),
            problem: rejection.body_text(),
        })
    }
}

/// # Errors
/// [`AwsError::Json`] with the field, if it is known, and the place.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AwsError> {
    let text = tolerant(bytes);
    let mut reader = serde_json::Deserializer::from_slice(&text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let field = (path != ".").then_some(path);
        AwsError::Json { field, problem: error.into_inner().to_string() }
    })?;
    reader.end().map_err(|error| AwsError::Json { field: None, problem: error.to_string() })?;
    Ok(value)
}

/// Replaces what Python writes and JSON does not know by something of the same length, so that places in
/// error messages stay true: `Infinity` by a number near the greatest, as the reference's worker does, and
/// `NaN` by a string that no number is read from.
fn tolerant(bytes: &[u8]) -> Cow<'_, [u8]> {
    const INFINITY: (&[u8], &[u8]) = (b"Infinity", b"1.79e308");
    const NAN: (&[u8], &[u8]) = (b"NaN", b"\"N\"");
    let mut out = Cow::Borrowed(bytes);
    let (mut at, mut in_string) = (0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'I' | b'N' if !in_string => {
                for (word, instead) in [INFINITY, NAN] {
                    if bytes[at..].starts_with(word) {
                        out.to_mut()[at..at + word.len()].copy_from_slice(instead);
                        at += word.len() - 1;
                        break;
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use super::super::numbers::Real;
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Probe {
        cfg_scale: Option<Real>,
    }

    #[test]
    fn bare_infinity_and_nan_do_not_break_a_body() {
        let value: Value = parse(br#"{"s_tmax": Infinity, "a": -Infinity, "b": NaN, "c": "Infinity \"NaN"}"#)
            .expect("tolerated");
        assert_eq!(value["s_tmax"], 1.79e308);
        assert_eq!(value["a"], -1.79e308);
        assert_eq!(value["c"], "Infinity \"NaN");
        let probe: Probe = parse(br#"{"cfg_scale": 7, "s_tmax": NaN}"#).expect("unused NaN is tolerated");
        assert_eq!(probe.cfg_scale.map(f64::from), Some(7.0));
        let error = parse::<Probe>(br#"{"cfg_scale": NaN}"#).expect_err("not a number");
        assert_eq!(error.to_string(), "cfg_scale: \"N\" is not a number at line 1 column 17");
    }

    #[test]
    fn malformed_json_is_located() {
        let cases: [(&[u8], &str); 5] = [
            (b"", "the body is not JSON: EOF while parsing a value at line 1 column 0"),
            (b"{\n \"a\": }", "expected value at line 2 column 7"),
            (b"{} x", "the body is not JSON: trailing characters at line 1 column 4"),
            (b"{\"cfg_scale\": {}}", "cfg_scale: invalid type: map, expected a number at line 1 column 16"),
            (b"\xff\xfe", "expected value at line 1 column 1"),
        ];
        for (body, want) in cases {
            let error = parse::<Probe>(body).expect_err(want).to_string();
            assert!(error.contains(want), "{error}");
        }
        let deep = "[".repeat(100_000);
        assert!(
            parse::<Value>(deep.as_bytes()).expect_err("too deep").to_string().contains("recursion limit")
        );
    }

    proptest::proptest! {
        #[test]
        fn replacing_never_changes_the_length(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            proptest::prop_assert_eq!(tolerant(&bytes).len(), bytes.len());
        }

        #[test]
        fn strict_json_is_untouched(text in "\\PC{0,40}") {
            let json = serde_json::to_vec(&serde_json::json!({ "k": text, "n": [1.5, null, true] })).expect("JSON");
            proptest::prop_assert_eq!(&*tolerant(&json), json.as_slice());
        }
    }
}
