//! Walking through the schema of a CRD, field by field.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

/// One place in a schema.
pub(super) struct Field<'a> {
    /// From the object's root, e.g. `spec.models[].name`; empty for the root itself.
    pub path: String,
    /// The last name in the path.
    pub name: String,
    pub schema: &'a Value,
    pub required: bool,
}

/// A CEL rule of a CRD.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CelRule {
    pub kind: String,
    /// From the object's root; empty for a rule on the whole object.
    pub path: String,
    pub rule: String,
    pub message: String,
}

impl CelRule {
    /// Does the rule compare with the state before an update?
    pub fn is_transition(&self) -> bool {
        self.rule.contains("oldSelf")
    }
}

/// Every rule of a CRD, in the order of the schema.
pub fn cel_rules(crd: &CustomResourceDefinition) -> Vec<CelRule> {
    let root = schema_of(crd);
    let mut rules = Vec::new();
    for field in fields(&root) {
        let list = field.schema.get("x-kubernetes-validations").and_then(Value::as_array);
        for rule in list.into_iter().flatten() {
            let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            rules.push(CelRule {
                kind: crd.spec.names.kind.clone(),
                path: field.path.clone(),
                rule: text("rule"),
                message: text("message"),
            });
        }
    }
    rules
}

/// The schema of the CRD's only version.
pub(super) fn schema_of(crd: &CustomResourceDefinition) -> Value {
    let version = crd.spec.versions.first().expect("each of our CRDs has one version");
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    serde_json::to_value(schema.expect("each of our CRDs has a schema")).expect("a schema is plain data")
}

/// The root and everything below it, parents first.
pub(super) fn fields(root: &Value) -> Vec<Field<'_>> {
    let mut found = vec![Field { path: String::new(), name: String::new(), schema: root, required: true }];
    descend(root, "", &mut found);
    found
}

fn descend<'a>(schema: &'a Value, path: &str, found: &mut Vec<Field<'a>>) {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let required = required.contains(&name.as_str());
        found.push(Field { path: path.clone(), name: name.clone(), schema: property, required });
        descend(property, &path, found);
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let Some(inner) = schema.get(key).filter(|inner| inner.is_object()) {
            let path = format!("{path}{suffix}");
            found.push(Field { path: path.clone(), name: String::new(), schema: inner, required: false });
            descend(inner, &path, found);
        }
    }
}
