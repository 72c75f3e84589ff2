//! The CustomResourceDefinitions, in the form that is installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::{ApiKey, Dataset, Endpoint, Model, TrainingJob};

/// All kinds, in the order of the documents. These, not `T::crd()`, are what gets installed: their schemas
/// have been made strict.
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    [Endpoint::crd(), Model::crd(), TrainingJob::crd(), Dataset::crd(), ApiKey::crd()]
        .into_iter()
        .map(strict)
        .collect()
}

fn strict(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(crd).expect("a CRD is plain data");
    if let Some(versions) = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
                tighten(schema);
            }
        }
    }
    serde_json::from_value(value).expect("tightening keeps a CRD a CRD")
}

/// Makes a schema say what the Rust type accepts, below `schema` as well.
///
/// - Nothing is nullable: the API server then drops nulls before validation, so that a rule's `has()` and
///   Rust's `Option` agree.
/// - Rust's unsigned formats are unknown to Kubernetes; they become ranges. An integer out of range would
///   make the whole object unreadable for us.
fn tighten(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    if object.get("nullable").is_some_and(Value::is_boolean) {
        object.remove("nullable");
    }
    bound_integer(object);
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(key) {
            tighten(inner);
        }
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(tighten);
    }
}

fn bound_integer(schema: &mut Map<String, Value>) {
    if schema.get("type") != Some(&json!("integer")) {
        return;
    }
    let (format, least, most) = match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => ("int64", 0, i64::from(u32::MAX)),
        Some("uint64") => ("int64", 0, i64::MAX),
        Some("int32") => ("int32", i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => return,
    };
    schema.insert("format".into(), format.into());
    // JSON schema bounds are floating-point numbers: one beyond 2^53 would not survive, and none is needed
    // where the format itself is the bound.
    if format == "int64" {
        schema.entry("minimum").or_insert(least.into());
        if most <= i64::from(u32::MAX) {
            schema.entry("maximum").or_insert(most.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::cel_rules;
    use crate::generate::walk::{fields, schema_of};

    /// Calls `check` for each field below `spec` and `status` of each kind.
    fn for_each_field(mut check: impl FnMut(&str, &str, &Value)) {
        for crd in all_crds() {
            let root = schema_of(&crd);
            for field in fields(&root) {
                if field.path.starts_with("spec") || field.path.starts_with("status") {
                    check(&format!("{}: {}", crd.spec.names.kind, field.path), &field.name, field.schema);
                }
            }
        }
    }

    #[test]
    fn everything_is_bounded_and_nothing_is_a_float() {
        for_each_field(|place, _, schema| {
            let has = |key: &str| schema.get(key).is_some();
            match schema.get("type").and_then(Value::as_str) {
                Some("string") => {
                    assert!(has("maxLength") || has("enum") || has("format"), "{place} is bounded")
                }
                Some("array") => {
                    assert!(has("maxItems") && has("x-kubernetes-list-type"), "{place} is bounded")
                }
                Some("object") if has("additionalProperties") => assert!(has("maxProperties"), "{place}"),
                Some("object") => assert!(has("properties"), "{place} has fields"),
                Some("integer") => assert!(has("format"), "{place} has a width"),
                Some("boolean") => {}
                None => assert!(has("x-kubernetes-int-or-string") && has("maxLength"), "{place} has a type"),
                Some(other) => panic!("{place} is {other}"),
            }
            assert!(!has("nullable"), "{place} is not nullable");
        });
    }

    #[test]
    fn docs_start_with_the_name_of_the_field() {
        for_each_field(|place, name, schema| {
            if !name.is_empty() && !["spec", "status"].contains(&name) {
                let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
                assert!(text.starts_with(&format!("`{name}`")), "{place} is described by {text:?}");
            }
        });
    }

    #[test]
    fn integers_of_a_spec_fit_the_rust_type() {
        for_each_field(|place, _, schema| {
            if place.contains(": spec") && schema.get("type") == Some(&json!("integer")) {
                assert!(schema.get("minimum").is_some() && schema.get("maximum").is_some(), "{place}");
            }
        });
    }

    #[test]
    fn every_rule_has_a_sentence_for_a_person() {
        let mut count = 0;
        for rule in all_crds().iter().flat_map(cel_rules) {
            assert!(rule.message.split(' ').count() > 3 && !rule.message.contains("self."), "{rule:?}");
            count += 1;
        }
        assert!(count > 50, "{count} rules");
    }

    #[test]
    fn every_kind_shows_whether_it_works_and_why_not() {
        for crd in all_crds() {
            let names = &crd.spec.names;
            assert_eq!(names.categories.as_deref(), Some(&["easel".to_owned()][..]), "{}", names.kind);
            assert_eq!(names.short_names.as_ref().map(Vec::len), Some(1), "{}", names.kind);
            let version = &crd.spec.versions[0];
            let columns: Vec<&str> = version
                .additional_printer_columns
                .iter()
                .flatten()
                .map(|column| column.name.as_str())
                .collect();
            for column in ["Ready", "Reason", "Age", "Message"] {
                assert!(columns.contains(&column), "{} shows {column}", names.kind);
            }
            let status = version.subresources.as_ref().and_then(|part| part.status.as_ref());
            assert!(status.is_some(), "{} has a status", names.kind);
        }
    }
}
