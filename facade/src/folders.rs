//! Where the object store keeps what belongs to a TrainingJob and to a Dataset, and what a namespace may read there.
//!
//! ```text
//! training/<namespace>/<job>/<first 8 of its UID>/step-<step>/<file>        a checkpoint; its card, *.json, came last
//! training/<namespace>/<job>/<first 8 of its UID>/samples/step-<step>-<prompt>.png
//! dataset/<namespace>/<datasetName>/<item>                                  a picture
//! dataset/<namespace>/<datasetName>.report.jsonl                            what is wrong with them
//! ```

use easel_store::objects::{InvalidKey, ObjectKey};

/// Everything of TrainingJobs begins with this.
pub const TRAINING: &str = "training/";
/// Everything of Datasets begins with this.
pub const DATASET: &str = "dataset/";
/// Digits of a step in a key: all that a run can have, so that keys sort by step.
const STEP_DIGITS: usize = 8;
/// One more than the last step that a key can name.
pub const STEPS_END: u64 = 100_000_000;

/// The folder of one TrainingJob, with a slash at its end. A job of the same name that is made later has another UID.
pub fn training_folder(namespace: &str, job: &str, uid: &str) -> String {
    let uid: String = uid.chars().take(8).collect();
    format!("{TRAINING}{namespace}/{job}/{uid}/")
}

/// `step-00000500`
pub fn step_name(step: u64) -> String {
    format!("step-{step:0STEP_DIGITS$}")
}

/// The step that begins this text, and what follows it.
pub fn step_of(text: &str) -> Option<(u64, &str)> {
    let rest = text.strip_prefix("step-")?;
    let (digits, rest) = rest.split_at_checked(STEP_DIGITS)?;
    let step = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some((step, rest))
}

/// The folder of a Dataset's pictures, with a slash at its end.
pub fn dataset_folder(namespace: &str, dataset_name: &str) -> String {
    format!("{DATASET}{namespace}/{dataset_name}/")
}

/// Where a picture is that says nothing else.
///
/// # Errors
/// The names are too long or hold what no key may.
pub fn picture_key(namespace: &str, dataset_name: &str, item: &str) -> Result<ObjectKey, InvalidKey> {
    format!("{}{item}", dataset_folder(namespace, dataset_name)).parse()
}

const REPORT: &str = ".report.jsonl";

/// Where the report on a Dataset is.
///
/// # Errors
/// The name is too long or holds what no key may.
pub fn report_key(namespace: &str, dataset_name: &str) -> Result<ObjectKey, InvalidKey> {
    format!("{DATASET}{namespace}/{dataset_name}{REPORT}").parse()
}

/// The folder of the Dataset that a key below [`DATASET`] belongs to, and its namespace.
pub fn dataset_of(key: &str) -> Option<(&str, String)> {
    let parts: Vec<&str> = key.strip_prefix(DATASET)?.split('/').collect();
    match parts.as_slice() {
        [namespace, report] => Some((namespace, dataset_folder(namespace, report.strip_suffix(REPORT)?))),
        [namespace, dataset_name, _] => Some((namespace, dataset_folder(namespace, dataset_name))),
        _ => None,
    }
}

/// The folder of the TrainingJob that a key below [`TRAINING`] belongs to, and its namespace.
pub fn training_of(key: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = key.strip_prefix(TRAINING)?.splitn(4, '/').collect();
    match parts.as_slice() {
        [namespace, _, _, file] if !file.is_empty() => Some((namespace, &key[..key.len() - file.len()])),
        _ => None,
    }
}

/// A namespace may name its own objects and whatever lies outside Easel's own folders.
pub fn may_read(namespace: &str, key: &str) -> bool {
    match key.split_once('/') {
        Some(("out", _)) => false,
        Some(("models" | "training" | "dataset", rest)) => {
            rest.strip_prefix(namespace).is_some_and(|rest| rest.starts_with('/'))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reaches_no_other_tenants_objects() {
        let cases = [
            ("import/a.safetensors", true),
            ("models/team/m/upload/a", true),
            ("models/teammate/m/upload/a", false),
            ("models/team", false),
            ("models/sha256/00", false),
            ("out/1/result/image_0.png", false),
            ("outside/a", true),
            ("dataset/team/set/a.png", true),
            ("dataset/others/set/a.png", false),
            ("dataset/teammate/set/a.png", false),
            ("training/team/run/01234567/step-00000001/a", true),
            ("training/others/run/01234567/step-00000001/a", false),
        ];
        for (key, allowed) in cases {
            assert_eq!(may_read("team", key), allowed, "{key}");
        }
    }

    #[test]
    fn a_key_tells_whose_it_is() {
        let cases = [
            ("dataset/team/set/a.png", Some(("team", "dataset/team/set/"))),
            ("dataset/team/set.report.jsonl", Some(("team", "dataset/team/set/"))),
            ("dataset/team/set/deep/a.png", None),
            ("dataset/team/other.txt", None),
            ("dataset/a.png", None),
            ("models/team/m/upload/a", None),
        ];
        for (key, want) in cases {
            let found = dataset_of(key);
            assert_eq!(
                found.as_ref().map(|(namespace, folder)| (*namespace, folder.as_str())),
                want,
                "{key}"
            );
        }
        let folder = training_folder("team", "run", "0123456789");
        assert_eq!(folder, "training/team/run/01234567/");
        let cases = [
            ("training/team/run/01234567/step-00000001/a.json", Some(("team", folder.as_str()))),
            ("training/team/run/01234567/losses.csv", Some(("team", folder.as_str()))),
            ("training/team/run/01234567", None),
            ("training/team/run/01234567/", None),
            ("training/team", None),
        ];
        for (key, want) in cases {
            assert_eq!(training_of(key), want, "{key}");
        }
    }

    #[test]
    fn steps_are_read_as_they_are_written() {
        for step in [0, 7, 99_999_999] {
            let text = format!("{}-3.png", step_name(step));
            assert_eq!(step_of(&text), Some((step, "-3.png")));
        }
        for text in ["step-1", "step-+1234567", "step-0000000ä", "stop-00000001", ""] {
            assert_eq!(step_of(text), None, "{text}");
        }
    }
}
