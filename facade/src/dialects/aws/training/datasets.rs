//! `POST /dataset`, `PUT /dataset`, `GET /datasets`, `GET /dataset/{dataset_name}/data`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use easel_crds::Dataset;
use easel_crds::dataset::DatasetItem;
use easel_store::objects::ResponseHeaders;
use serde_json::{Map, Value, json};

use super::dataset_record;
use super::error::TrainingError;
use super::filters::Filter;
use super::names::{last_part, object_name, shown};
use super::note::{DatasetNote, read};
use super::train::{UPLOAD_LIFE, known};
use super::uploads::{MAX_PICTURES, Picture, media_type};
use super::wire::{
    CreateDataset, DatasetCreated, DatasetData, DatasetFile, DatasetList, DatasetUpdated, UpdateDataset,
};
use crate::app::App;
use crate::auth::Caller;
use crate::catalog::{ClusterError, NOTE_ANNOTATION};
use crate::datasets::{self, is_file_name};
use crate::dialects::aws::json::AwsJson;
use crate::folders;
use crate::http::origin::CallerAudience;

/// As long as the service's own URLs live.
const PREVIEW_LIFE: Duration = Duration::from_secs(24 * 3600);
/// A longer list would be megabytes of addresses; `GET /easel/v1/datasets/{name}` has pages.
const MOST_SHOWN: usize = 5000;
/// How often a Dataset may change between being read and being written.
const TRIES: usize = 5;
const MAX_CAPTION: usize = 1024;

/// `POST /dataset`: a new Dataset, or more pictures for one that is there. It is Disabled until `PUT /dataset`.
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    CallerAudience(audience): CallerAudience,
    AwsJson(body): AwsJson<CreateDataset>,
) -> Result<AwsJson<DatasetCreated>, TrainingError> {
    known(&app)?;
    let name = body.dataset_name.filter(|name| is_file_name(name)).ok_or_else(|| {
        TrainingError::field("dataset_name", "a name of 1 to 128 characters without slashes is needed")
    })?;
    let files = files(body.content.unwrap_or_default())?;
    let params = body.params.unwrap_or_default();
    let seen = app.directory.dataset_called(&caller.namespace, &name);
    let object = seen.map_or_else(|| object_name(&name), |dataset| dataset.name);
    let dataset_name = store(&app, &caller.namespace, &object, &name, &files, params).await?;
    let mut urls = BTreeMap::new();
    for (picture, _) in files {
        let key = folders::picture_key(&caller.namespace, &dataset_name, &picture.item)
            .map_err(|error| TrainingError::field("content", error.to_string()))?;
        let url = app.objects.presign_put(&key, &audience, UPLOAD_LIFE, None).await?;
        urls.insert(picture.file, url.into_string());
    }
    Ok(AwsJson(DatasetCreated { status_code: 200, dataset_name: name, s3_presign_url: urls }))
}

/// Each file with the item that it becomes.
fn files(content: Vec<DatasetFile>) -> Result<Vec<(Picture, Value)>, TrainingError> {
    if content.len() > MAX_PICTURES {
        let problem = format!(
            "{} files; at most {MAX_PICTURES} are allowed: longer sets are Datasets with a manifest",
            content.len()
        );
        return Err(TrainingError::field("content", problem));
    }
    let mut found = BTreeMap::new();
    for (index, file) in content.into_iter().enumerate() {
        let (picture, item) = one_file(index, file)?;
        if let Some((other, _)) = found.insert(picture.item.clone(), (picture, item)) {
            let problem = format!("two files are called {}", shown(&other.item));
            return Err(TrainingError::field(format!("content[{index}]"), problem));
        }
    }
    Ok(found.into_values().collect())
}

fn one_file(index: usize, file: DatasetFile) -> Result<(Picture, Value), TrainingError> {
    let wrong =
        |field: &str, problem: String| TrainingError::field(format!("content[{index}].{field}"), problem);
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (filename, name) = (given(file.filename), given(file.name));
    let filename =
        filename.or_else(|| name.clone()).ok_or_else(|| wrong("filename", "it is missing".into()))?;
    // Clients keep what they get back for the one, and show the other.
    let item = last_part(name.as_deref().unwrap_or(&filename)).to_owned();
    if !is_file_name(&item) {
        return Err(wrong("name", format!("{:?} is no file name of 1 to 128 characters", shown(&item))));
    }
    let word = file.media_type.unwrap_or_default();
    let of_type = media_type(&format!(".{}", last_part(&word)));
    let media_type = of_type.or_else(|| media_type(&item)).or_else(|| media_type(&filename));
    let media_type = media_type.ok_or_else(|| {
        wrong("type", format!("{} is no picture of the formats png, jpg and webp", shown(&filename)))
    })?;
    let caption = file.params.as_ref().and_then(|params| params.get("caption")).and_then(Value::as_str);
    if caption.is_some_and(|caption| caption.chars().count() > MAX_CAPTION) {
        return Err(wrong("params.caption", format!("at most {MAX_CAPTION} characters are allowed")));
    }
    let mut value = json!({"name": item, "mediaType": media_type});
    if let Some(caption) = caption {
        value["caption"] = caption.into();
    }
    Ok((Picture { file: filename, item }, value))
}

/// Makes the object or adds to it; answers with the name that is part of the pictures' keys.
async fn store(
    app: &App,
    namespace: &str,
    object: &str,
    name: &str,
    files: &[(Picture, Value)],
    params: Map<String, Value>,
) -> Result<String, TrainingError> {
    let added: Vec<DatasetItem> = files
        .iter()
        .map(|(_, item)| serde_json::from_value(item.clone()))
        .collect::<Result<_, _>>()
        .map_err(|error| TrainingError::field("content", error.to_string()))?;
    for _ in 0..TRIES {
        let (changed, dataset_name) = match app.cluster.dataset(namespace, object).await? {
            None => {
                let dataset = new_dataset(namespace, object, name, &added, &params)?;
                (app.cluster.create_dataset(&dataset).await.map(|_| true), name.to_owned())
            }
            Some(there) => {
                let patch = more(&there, &added, &params)?;
                let dataset_name = there.spec.dataset_name.unwrap_or_else(|| object.to_owned());
                (app.cluster.patch_dataset(namespace, object, &patch).await, dataset_name)
            }
        };
        match changed {
            Ok(true) => {
                tracing::info!(
                    namespace,
                    dataset = object,
                    pictures = added.len(),
                    "a Dataset is made or grows"
                );
                return Ok(dataset_name);
            }
            // Deleted, made or changed since it was read.
            Ok(false) | Err(ClusterError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(TrainingError::Busy { what: format!("dataset {}", shown(name)) })
}

fn description(params: &Map<String, Value>) -> Option<&str> {
    params.get("description").and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn new_dataset(
    namespace: &str,
    object: &str,
    name: &str,
    items: &[DatasetItem],
    params: &Map<String, Value>,
) -> Result<Dataset, TrainingError> {
    let note = DatasetNote { initial: true, params: params.clone() };
    let whole = json!({
        "apiVersion": "easel.dev/v1alpha1", "kind": "Dataset",
        "metadata": {"name": object, "namespace": namespace, "annotations": {NOTE_ANNOTATION: note.text()}},
        "spec": {
            "datasetName": name, "description": description(params), "state": "Disabled", "items": items,
        },
    });
    serde_json::from_value(whole).map_err(|error| TrainingError::field("content", error.to_string()))
}

/// A patch for exactly the version that was read.
fn more(there: &Dataset, added: &[DatasetItem], params: &Map<String, Value>) -> Result<Value, TrainingError> {
    if there.spec.manifest.is_some() {
        return Err(TrainingError::field("dataset_name", "its pictures are listed in a manifest, not here"));
    }
    let is_new = |item: &&DatasetItem| added.iter().all(|new| new.name != item.name);
    let items: Vec<&DatasetItem> = there.spec.items.iter().filter(is_new).chain(added).collect();
    if items.len() > MAX_PICTURES {
        let problem = format!(
            "with these the set has {} pictures; {MAX_PICTURES} are allowed: longer sets are Datasets with a manifest",
            items.len()
        );
        return Err(TrainingError::field("content", problem));
    }
    let kept = there.metadata.annotations.as_ref().and_then(|notes| notes.get(NOTE_ANNOTATION));
    let mut note: DatasetNote = read(kept.map(String::as_str));
    note.initial = true;
    note.params.extend(params.clone());
    let mut spec = json!({"state": "Disabled", "items": items});
    if let Some(description) = description(params) {
        spec["description"] = description.into();
    }
    Ok(json!({
        "metadata": {
            "resourceVersion": there.metadata.resource_version, "annotations": {NOTE_ANNOTATION: note.text()},
        },
        "spec": spec,
    }))
}

/// `PUT /dataset`
pub(super) async fn update(
    State(app): State<App>,
    caller: Caller,
    AwsJson(body): AwsJson<UpdateDataset>,
) -> Result<AwsJson<DatasetUpdated>, TrainingError> {
    known(&app)?;
    let (state, initial, status) = match body.status.as_deref().unwrap_or_default() {
        "Enabled" => ("Enabled", false, "Enabled"),
        "Disabled" => ("Disabled", false, "Disabled"),
        "Initialed" | "Initial" => ("Disabled", true, "Initialed"),
        other => {
            let problem = format!("\"{}\" is none of Initialed, Enabled and Disabled", shown(other));
            return Err(TrainingError::field("status", problem));
        }
    };
    let name = body.dataset_name.unwrap_or_default();
    let unknown = || TrainingError::NoDataset(shown(&name));
    let seen = app.directory.dataset_called(&caller.namespace, &name);
    let object = seen.map_or_else(|| object_name(&name), |dataset| dataset.name);
    let there = app.cluster.dataset(&caller.namespace, &object).await?.ok_or_else(unknown)?;
    let kept = there.metadata.annotations.as_ref().and_then(|notes| notes.get(NOTE_ANNOTATION));
    let note = DatasetNote { initial, ..read(kept.map(String::as_str)) };
    let patch =
        json!({"metadata": {"annotations": {NOTE_ANNOTATION: note.text()}}, "spec": {"state": state}});
    if !app.cluster.patch_dataset(&caller.namespace, &object, &patch).await? {
        return Err(unknown());
    }
    Ok(AwsJson(DatasetUpdated { status_code: 200, dataset_name: name, status }))
}

/// `GET /datasets`
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<AwsJson<DatasetList>, TrainingError> {
    known(&app)?;
    let status = Filter::of(query.as_deref(), "dataset_status");
    let bucket = &app.config.s3.bucket;
    let all = app.directory.datasets(&caller.namespace);
    let wanted = all.iter().filter(|dataset| status.lets(dataset_record::status(dataset)));
    let datasets = wanted.map(|dataset| dataset_record::listed(dataset, bucket)).collect();
    Ok(AwsJson(DatasetList { status_code: 200, datasets }))
}

/// `GET /dataset/{dataset_name}/data`; nothing for one that nobody knows, as the service answers.
pub(super) async fn data(
    State(app): State<App>,
    caller: Caller,
    CallerAudience(audience): CallerAudience,
    Path(name): Path<String>,
) -> Result<AwsJson<DatasetData>, TrainingError> {
    known(&app)?;
    let mut data = Vec::new();
    if let Some(dataset) = app.directory.dataset_called(&caller.namespace, &name) {
        for item in datasets::items(&app, &dataset).await?.iter().take(MOST_SHOWN) {
            let key = datasets::key(&dataset, item)?;
            let headers = ResponseHeaders {
                content_type: item.media_type.map(str::to_owned),
                ..ResponseHeaders::default()
            };
            let url = app.objects.presign_get(&key, &audience, PREVIEW_LIFE, &headers).await?;
            data.push(dataset_record::item(&dataset, item, url.into_string()));
        }
    }
    Ok(AwsJson(DatasetData { status_code: 200, dataset_name: name, data }))
}
