//! The reference page: for each kind its names, its fields and its rules, as the schemas have them.

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use super::walk::{Field, cel_rules, fields, schema_of};
use crate::common::{GROUP, VERSION};

/// Markdown for all kinds.
pub(super) fn page(crds: &[CustomResourceDefinition]) -> String {
    let mut out = format!(
        "<!-- Generated from crds/src by `make generate`; changes here are lost. -->\n\
         # Custom resources\n\n\
         All kinds are namespaced, in `{GROUP}/{VERSION}` and in the category `easel`: `kubectl get easel`.\n\
         Numbers that are no integers are text (`\"0.75\"`, `\"1e-4\"`). `[]` marks the entries of a list, `.*` the values of a map;\n\
         a field in **bold** must be set.\n\n"
    );
    for crd in crds {
        let kind = &crd.spec.names.kind;
        line(&mut out, &format!("- [{kind}](#{})", kind.to_lowercase()));
    }
    for crd in crds {
        out.push_str(&section(crd));
    }
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn section(crd: &CustomResourceDefinition) -> String {
    let root = schema_of(crd);
    let names = &crd.spec.names;
    let short = names.short_names.clone().unwrap_or_default().join(", ");
    let mut out = String::new();
    line(&mut out, &format!("\n## {}\n", names.kind));
    line(&mut out, &format!("{}\n", text_of(&root, "description")));
    line(&mut out, &format!("`kubectl get {}` (short name `{short}`). {}\n", crd_name(crd), columns(crd)));
    for part in ["spec", "status"] {
        line(&mut out, &format!("### {}: {part}\n", names.kind));
        out.push_str(&table(&root, part));
    }
    line(&mut out, &format!("\n### {}: rules\n", names.kind));
    line(
        &mut out,
        "The API server refuses an object that breaks one of these, with the sentence as its message.\n",
    );
    for rule in cel_rules(crd) {
        let place = if rule.path.is_empty() { "the object".to_owned() } else { format!("`{}`", rule.path) };
        let when = if rule.is_transition() { " (on update)" } else { "" };
        line(&mut out, &format!("- {place}{when}: {}", rule.message));
    }
    out
}

fn crd_name(crd: &CustomResourceDefinition) -> String {
    format!("{}.{}", crd.spec.names.plural, crd.spec.group)
}

fn columns(crd: &CustomResourceDefinition) -> String {
    let columns = crd.spec.versions.first().and_then(|version| version.additional_printer_columns.as_ref());
    let (mut always, mut wide) = (Vec::new(), Vec::new());
    for column in columns.into_iter().flatten() {
        if column.priority.unwrap_or(0) == 0 { &mut always } else { &mut wide }.push(column.name.as_str());
    }
    format!("Columns: {}; with `-o wide` also {}.", always.join(", "), wide.join(", "))
}

fn table(root: &Value, part: &str) -> String {
    let mut out = String::from("| field | type | default | bounds | meaning |\n|---|---|---|---|---|\n");
    for field in fields(root).iter().filter(|field| field.path.starts_with(&format!("{part}."))) {
        // Entries of lists and maps are told in their parents' row, unless they have fields.
        if field.name.is_empty() {
            continue;
        }
        let path = field.path.trim_start_matches(&format!("{part}.")).replace('|', "\\|");
        let path = if field.required { format!("**`{path}`**") } else { format!("`{path}`") };
        let default = field.schema.get("default").map(|value| format!("`{value}`")).unwrap_or_default();
        let _infallible = writeln!(
            out,
            "| {path} | {} | {} | {} | {} |",
            type_of(field.schema),
            cell(&default),
            cell(&bounds(field)),
            cell(&text_of(field.schema, "description"))
        );
    }
    out
}

fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

fn text_of(schema: &Value, key: &str) -> String {
    schema.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn type_of(schema: &Value) -> String {
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return "quantity".into();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => match schema.get("items") {
            Some(items) => format!("list of {}", type_of(items)),
            None => "list".into(),
        },
        Some("object") => match schema.get("additionalProperties") {
            Some(values) => format!("map to {}", type_of(values)),
            None => "object".into(),
        },
        Some("string") if schema.get("format").is_some() => text_of(schema, "format"),
        Some(other) => other.into(),
        None => "any".into(),
    }
}

/// What the schema demands besides the rules.
fn bounds(field: &Field<'_>) -> String {
    let schema = field.schema;
    let mut parts = Vec::new();
    let values = schema.get("enum").or_else(|| schema.pointer("/items/enum")).and_then(Value::as_array);
    if let Some(values) = values {
        let words: Vec<String> =
            values.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        parts.push(words.join(", "));
    }
    for (least, most, unit) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
    ] {
        match (number(schema, least), number(schema, most)) {
            (Some(least), Some(most)) => parts.push(format!("{least} to {most}{unit}")),
            (Some(least), None) => parts.push(format!("from {least}{unit}")),
            (None, Some(most)) => parts.push(format!("up to {most}{unit}")),
            (None, None) => {}
        }
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        parts.push(format!("`{pattern}`"));
    }
    parts.join("; ")
}

fn number(schema: &Value, key: &str) -> Option<i64> {
    let value = schema.get(key)?;
    // Bounds are floating-point in the CRD's own type; all of ours are whole.
    #[allow(clippy::cast_possible_truncation, reason = "bounds are whole numbers far below 2^53")]
    value.as_i64().or_else(|| value.as_f64().map(|bound| bound as i64))
}

#[cfg(test)]
mod tests {
    use crate::generate::{all_crds, reference_file};

    #[test]
    fn every_kind_and_every_rule_is_on_the_page() {
        let page = reference_file().text;
        for crd in all_crds() {
            assert!(page.contains(&format!("\n## {}\n", crd.spec.names.kind)));
            for rule in super::cel_rules(&crd) {
                assert!(page.contains(&rule.message), "{}", rule.message);
            }
        }
        assert!(page.contains("| **`source`** | object |"), "required fields are bold");
        assert!(page.contains("| `replicas` | integer | `1` | 0 to 1000 |"));
    }
}
