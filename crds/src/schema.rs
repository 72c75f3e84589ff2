//! Bounded schemas of types that are not ours (conditions, tolerations, quantities) and of strings
//! that many fields share. Every list and string has a bound, so that the cost of CEL rules has one.

use kube::core::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::common::MAX_NAME;

/// A quantity, e.g. `4`, `500m`, `1.5Gi`.
const QUANTITY: &str = r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";
const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";

/// Name of an object of ours.
pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": MAX_NAME, "pattern": LABEL})
}

/// Name that has to be a DNS label, such as a container's or a volume's.
pub(crate) fn label_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": LABEL})
}

/// Name of any Kubernetes object (DNS subdomain).
pub(crate) fn kubernetes_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 253, "pattern": SUBDOMAIN})
}

/// 64 characters; that they are hexadecimal is a rule, for the sake of its message.
pub(crate) fn sha256(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 64})
}

/// A decimal number as text, because the API has no floats: `1e-4`, `0.75`.
pub(crate) fn decimal(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": 16,
        "pattern": r"^[0-9]+(\.[0-9]+)?([eE]-?[0-9]{1,2})?$"
    })
}

/// A quantity, written as text or as an integer.
pub(crate) fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true, "pattern": QUANTITY, "maxLength": 32
    })
}

/// A quantity as text only, so that rules can compare it.
pub(crate) fn quantity_text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": QUANTITY, "maxLength": 32})
}

/// Resource name to quantity.
pub(crate) fn resource_list(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 16, "additionalProperties": quantity(generator)})
}

/// Labels that a node must carry.
pub(crate) fn node_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63}
    })
}

/// `core/v1` tolerations.
pub(crate) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 16, "x-kubernetes-list-type": "atomic",
        "items": {"type": "object", "properties": {
            "key": {"type": "string", "maxLength": 317, "description":
                "`key` of the taint; unset with operator Exists matches every taint."},
            "operator": {"type": "string", "enum": ["Exists", "Equal"], "description":
                "`operator` compares `value`; unset means Equal."},
            "value": {"type": "string", "maxLength": 63, "description": "`value` of the taint."},
            "effect": {"type": "string", "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"],
                "description": "`effect` of the taint; unset matches every effect."},
            "tolerationSeconds": {"type": "integer", "format": "int64", "minimum": 0, "maximum": 31_536_000,
                "description": "`tolerationSeconds` bounds how long a NoExecute taint is tolerated."}
        }}
    })
}

/// `metav1.Condition` list, keyed by type.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 16,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "description": "`type` of the condition."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"],
                    "description": "`status` of the condition."},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0, "description":
                    "`observedGeneration` is the generation of the spec that the condition speaks of."},
                "lastTransitionTime": {"type": "string", "format": "date-time", "description":
                    "`lastTransitionTime` is when `status` changed last."},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "`reason` is a stable CamelCase word."},
                "message": {"type": "string", "maxLength": 32768,
                    "description": "`message` is for a person."}
            }
        }
    })
}

/// A list whose entries are told apart by `name`; `item` bounds an entry.
fn named_list(item: Schema, min: u32, max: u32) -> Schema {
    let mut list = json_schema!({
        "type": "array", "maxItems": max, "items": item,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]
    });
    if min > 0 {
        list.insert("minItems".into(), min.into());
    }
    list
}

/// `Vec<T>` keyed by `name`, from `MIN` to `MAX` entries.
pub(crate) fn named<T: schemars::JsonSchema, const MIN: u32, const MAX: u32>(
    generator: &mut SchemaGenerator,
) -> Schema {
    named_list(generator.subschema_for::<T>(), MIN, MAX)
}

/// `Vec<T>` that is always written as a whole.
pub(crate) fn atomic<T: schemars::JsonSchema, const MIN: u32, const MAX: u32>(
    generator: &mut SchemaGenerator,
) -> Schema {
    let mut list = json_schema!({
        "type": "array", "maxItems": MAX, "items": generator.subschema_for::<T>(),
        "x-kubernetes-list-type": "atomic"
    });
    if MIN > 0 {
        list.insert("minItems".into(), MIN.into());
    }
    list
}

/// `Vec<T>` of scalars without duplicates.
pub(crate) fn set<T: schemars::JsonSchema, const MIN: u32, const MAX: u32>(
    generator: &mut SchemaGenerator,
) -> Schema {
    let mut list = atomic::<T, MIN, MAX>(generator);
    list.insert("x-kubernetes-list-type".into(), "set".into());
    list
}

/// `Vec<String>` without duplicates, each at most `LEN` characters long.
pub(crate) fn string_set<const LEN: u32, const MAX: u32>(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": MAX, "x-kubernetes-list-type": "set",
        "items": {"type": "string", "minLength": 1, "maxLength": LEN}
    })
}

/// `Vec<String>` without duplicates whose entries are file names inside a repository, or patterns of such.
pub(crate) fn path_set(_: &mut SchemaGenerator) -> Schema {
    paths("each entry of files")
}

/// As [`path_set`], for what is left out.
pub(crate) fn ignored_path_set(_: &mut SchemaGenerator) -> Schema {
    paths("each entry of ignore")
}

fn paths(entry: &str) -> Schema {
    let rule: Rule = crate::rules::object_key(entry);
    json_schema!({
        "type": "array", "maxItems": 16, "x-kubernetes-list-type": "set",
        "items": {"type": "string", "minLength": 1, "maxLength": 512, "x-kubernetes-validations": [rule]}
    })
}

/// Up to eight prompts.
pub(crate) fn prompts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "minItems": 1, "maxItems": 8, "x-kubernetes-list-type": "atomic",
        "items": {"type": "string", "minLength": 1, "maxLength": 1024}
    })
}
