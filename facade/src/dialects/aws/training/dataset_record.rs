//! From a Dataset to this dialect's records of it.

use serde_json::{Map, Value};

use super::note::{DatasetNote, read};
use super::record::seconds;
use crate::catalog::{DatasetView, ItemView};
use crate::folders;

pub(super) fn note(dataset: &DatasetView) -> DatasetNote {
    read(dataset.note.as_deref())
}

/// `Initialed` from `POST /dataset` to `PUT /dataset`.
pub(super) fn status(dataset: &DatasetView) -> &'static str {
    match (dataset.enabled, note(dataset).initial) {
        (true, _) => "Enabled",
        (false, true) => "Initialed",
        (false, false) => "Disabled",
    }
}

/// The client's parameters, and over them what is known here.
pub(super) fn listed(dataset: &DatasetView, bucket: &str) -> Map<String, Value> {
    let mut record = note(dataset).params;
    let folder = folders::dataset_folder(&dataset.namespace, &dataset.dataset_name);
    let description = dataset.description.clone().unwrap_or_default();
    record.insert("datasetName".to_owned(), dataset.dataset_name.clone().into());
    record.insert("s3".to_owned(), format!("s3://{bucket}/{}", folder.trim_end_matches('/')).into());
    record.insert("status".to_owned(), status(dataset).into());
    record.insert("timestamp".to_owned(), seconds(dataset.created).into());
    record.insert("description".to_owned(), description.into());
    if !dataset.ready.holds && dataset.enabled {
        record.insert(
            "error".to_owned(),
            format!("{}: {}", dataset.ready.reason, dataset.ready.message).into(),
        );
    }
    record
}

/// One picture.
pub(super) fn item(dataset: &DatasetView, item: &ItemView, preview_url: String) -> Map<String, Value> {
    let status = match status(dataset) {
        "Enabled" if !item.enabled => "Disabled",
        status => status,
    };
    let text = |value: &str| Value::from(value.to_owned());
    let mut record = Map::from_iter([
        ("key".to_owned(), Value::from(format!("{}_{}", seconds(dataset.created), item.name))),
        ("name".to_owned(), text(&item.name)),
        ("type".to_owned(), text("image")),
        ("preview_url".to_owned(), preview_url.into()),
        ("dataStatus".to_owned(), text(status)),
        ("original_file_name".to_owned(), text(&item.name)),
    ]);
    if let Some(caption) = &item.caption {
        record.insert("caption".to_owned(), text(caption));
    }
    record
}
