//! CEL rules with a message for a person. A rule that speaks of one kind only stands here too, so that
//! all of them are read in one place.

use kube::core::Rule;

fn rule(expression: impl Into<String>, message: impl AsRef<str>) -> Rule {
    Rule::new(expression).message(message.as_ref())
}

// For every kind. Only `metadata.name` can be seen by rules.

pub(crate) fn short_name() -> Rule {
    rule(
        "size(self.metadata.name) <= 45",
        "metadata.name must be at most 45 characters long: the names of the children add to it",
    )
}

pub(crate) fn label_name() -> Rule {
    rule(
        "!self.metadata.name.contains('.')",
        "metadata.name must not contain '.': it becomes part of the names of Services and pods",
    )
}

/// `field` never changes once the object exists.
pub(crate) fn immutable(field: &str) -> Rule {
    rule("self == oldSelf", format!("{field} is immutable: make a new object instead"))
}

// Strings.

pub(crate) fn sha256(field: &str) -> Rule {
    rule("self.matches('^[0-9a-f]{64}$')", format!("{field} must be 64 lower-case hexadecimal digits"))
}

/// A key in the object store, or a path below a root: it may not climb out.
pub(crate) fn object_key(field: &str) -> Rule {
    rule(
        "!self.startsWith('/') && !self.contains('..') && !self.contains('//')",
        format!("{field} must not begin with '/' and must not contain '..' or '//'"),
    )
}

/// One path segment.
pub(crate) fn file_name(field: &str) -> Rule {
    rule(
        r"!self.startsWith('.') && !self.matches('[/\\\\\\x00-\\x1f\\x7f]')",
        format!("{field} must be a plain file name: no leading '.', no slashes, no control characters"),
    )
}

pub(crate) fn http_url(field: &str) -> Rule {
    rule(
        "isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''",
        format!("{field} must be a URL that begins with https:// or http:// and names a host"),
    )
}

pub(crate) fn positive_quantity(field: &str) -> Rule {
    rule(
        "isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))",
        format!("{field} must be a quantity greater than 0, such as 20Gi"),
    )
}

pub(crate) fn positive_decimal(field: &str) -> Rule {
    rule("double(self) > 0.0", format!("{field} must be greater than 0"))
}

/// `field` is a decimal from 0 to 1.
pub(crate) fn fraction(field: &str) -> Rule {
    rule("double(self) <= 1.0", format!("{field} must be between 0 and 1"))
}

/// Each entry of `field` is a decimal from 0 to 1.
pub(crate) fn fractions(field: &str) -> Rule {
    rule("self.all(x, double(x) <= 1.0)", format!("each of {field} must be between 0 and 1"))
}

// Shapes.

/// Exactly one of `fields` is set.
fn one_of(fields: &[&str], message: &str) -> Rule {
    let set: Vec<String> = fields.iter().map(|field| format!("has(self.{field})")).collect();
    rule(format!("[{}].filter(x, x).size() == 1", set.join(", ")), message)
}

pub(crate) fn one_of_claim() -> Rule {
    one_of(
        &["resourceClaimName", "resourceClaimTemplateName"],
        "exactly one of resourceClaimName and resourceClaimTemplateName must be set",
    )
}

/// A named instance type comes with its resources.
pub(crate) fn instance_type_or_resources() -> Rule {
    rule(
        "!has(self.instanceType) || !(has(self.resources) || has(self.resourceClaims))",
        "instanceType already says which resources a pod gets: leave out resources and resourceClaims, or instanceType",
    )
}

// Model.

pub(crate) fn one_source() -> Rule {
    one_of(
        &["upload", "objectStore", "s3", "http", "huggingFace", "civitai", "volume", "merge", "trainingJob"],
        "exactly one source must be set: upload, objectStore, s3, http, huggingFace, civitai, volume, merge or trainingJob",
    )
}

pub(crate) fn merge_makes_checkpoints() -> Rule {
    rule(
        "!has(self.source.merge) || self.type == 'Checkpoint'",
        "only Models of type Checkpoint can be merged",
    )
}

pub(crate) fn trainable_type() -> Rule {
    rule(
        "!has(self.source.trainingJob) || self.type in ['Checkpoint', 'Lora', 'TextualInversion', 'Hypernetwork']",
        "a TrainingJob makes Models of type Checkpoint, Lora, TextualInversion or Hypernetwork only",
    )
}

pub(crate) fn no_merge_with_itself() -> Rule {
    rule(
        "!has(self.spec.source.merge) || (!self.spec.source.merge.models.exists(m, m.name == self.metadata.name) && !(has(self.spec.source.merge.vae) && self.spec.source.merge.vae.name == self.metadata.name))",
        "a Model cannot be merged from itself",
    )
}

pub(crate) fn merge_count() -> Rule {
    rule(
        "size(self.models) == (self.method == 'AddDifference' ? 3 : 2)",
        "AddDifference takes three models (A, B, C), every other method two (A, B)",
    )
}

// Endpoint.

pub(crate) fn listed_needs_models() -> Rule {
    rule(
        "self.modelPolicy != 'Listed' || (has(self.models) && size(self.models) > 0)",
        "models must name at least one Model when modelPolicy is Listed: no job could run otherwise",
    )
}

pub(crate) fn min_max_replicas() -> Rule {
    rule("self.minReplicas <= self.maxReplicas", "minReplicas must not be greater than maxReplicas")
}

pub(crate) fn scale_to_zero_needs_zero() -> Rule {
    rule(
        "!has(self.scaleToZeroAfterSeconds) || self.minReplicas == 0",
        "scaleToZeroAfterSeconds needs minReplicas: 0",
    )
}

pub(crate) fn cron(field: &str) -> Rule {
    rule(
        r"self.matches('^[0-9*/,-]+ [0-9*/,-]+ [0-9*/,-]+ [0-9A-Za-z*/,-]+ [0-9A-Za-z*/,-]+$')",
        format!("{field} must have the five cron fields: minute, hour, day of month, month, day of week"),
    )
}

pub(crate) fn rollout_can_move() -> Rule {
    rule(
        "self.strategy == 'Recreate' || self.maxSurge + self.maxUnavailable > 0",
        "maxSurge and maxUnavailable must not both be 0: the roll-out could not replace any pod",
    )
}

// TrainingJob.

pub(crate) fn steps_or_epochs() -> Rule {
    one_of(&["steps", "epochs"], "exactly one of steps and epochs must be set")
}

/// `block` belongs to one training method.
pub(crate) fn method_block(block: &str, method: &str) -> Rule {
    rule(
        format!("!has(self.{block}) || self.method == '{method}'"),
        format!("{block} is for method {method} only"),
    )
}

pub(crate) fn textual_inversion_needs_token() -> Rule {
    rule(
        "self.method != 'TextualInversion' || has(self.textualInversion)",
        "method TextualInversion needs textualInversion with the token to be learned",
    )
}

/// `field` may change only while the job is held.
pub(crate) fn fixed_while_running(field: &str) -> Rule {
    rule(
        format!("oldSelf.suspend || self.{field} == oldSelf.{field}"),
        format!("{field} can only be changed while the TrainingJob is suspended"),
    )
}

pub(crate) fn class_dataset_needs_prompt() -> Rule {
    rule(
        "!has(self.classDataset) || has(self.classPrompt)",
        "classDataset needs classPrompt: the text that its pictures are trained with",
    )
}

pub(crate) fn resolution() -> Rule {
    rule("self % 64 == 0", "resolution must be a multiple of 64")
}

// Dataset.

/// Unset stands for the object's name, so that setting it later is a change too.
pub(crate) fn dataset_name_is_fixed() -> Rule {
    rule(
        "(has(self.datasetName) ? self.datasetName : '') == (has(oldSelf.datasetName) ? oldSelf.datasetName : '')",
        "datasetName is immutable: it is part of the keys of the pictures; make a new Dataset instead",
    )
}

pub(crate) fn items_or_manifest() -> Rule {
    rule(
        "!(has(self.items) && size(self.items) > 0 && has(self.manifest))",
        "items and manifest exclude each other: a long list belongs in the manifest",
    )
}

// ApiKey.

pub(crate) fn not_the_empty_key() -> Rule {
    rule(
        "self != 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
        "keySha256 is the hash of the empty string: hash the key itself",
    )
}

pub(crate) fn quota_says_something() -> Rule {
    rule(
        "has(self.requestsPerMinute) || has(self.concurrentJobs) || has(self.picturesPerDay) || has(self.trainingJobs)",
        "quota must set at least one limit, or be left out",
    )
}
