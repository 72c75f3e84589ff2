//! Pictures of a Dataset: sending them, one by one or to presigned URLs, and looking at them. Which pictures there
//! are is the object's business; here come their bytes.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use easel_store::objects::{self, Audience, ObjectKey, ResponseHeaders};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::error::NativeError;
use super::json::NativeJson;
use super::store::{URL_LIFE, put_error, sign_get};
use crate::app::App;
use crate::auth::Caller;
use crate::catalog::{DatasetView, ItemView};
use crate::datasets;
use crate::folders;
use crate::http::body::{announced, discard};
use crate::http::origin::CallerAudience;

/// Larger pictures are photographs that nobody trains on as they are.
const MAX_PICTURE: u64 = 64 << 20;
/// Pictures in one call.
const MAX_FILES: usize = 512;
const PAGE: usize = 256;
const CONTENT_TYPE: &str = "application/octet-stream";

#[derive(Debug, Deserialize)]
pub struct AskedFiles {
    files: Vec<AskedFile>,
}

#[derive(Debug, Deserialize)]
pub struct AskedFile {
    name: String,
}

#[derive(Debug, Serialize)]
pub struct UploadUrls {
    files: Vec<UploadUrl>,
}

#[derive(Debug, Serialize)]
pub struct UploadUrl {
    name: String,
    /// Presigned PUT of the whole picture.
    url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PageOf {
    offset: usize,
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
pub struct DatasetBody {
    name: String,
    dataset_name: String,
    description: Option<String>,
    state: &'static str,
    ready: bool,
    reason: String,
    message: String,
    /// Of the last check; absent before it.
    missing: Option<u32>,
    invalid: Option<u32>,
    duplicates: Option<u32>,
    report_url: Option<String>,
    total: usize,
    items: Vec<ItemBody>,
}

#[derive(Debug, Serialize)]
pub struct ItemBody {
    name: String,
    state: &'static str,
    caption: Option<String>,
    /// Presigned GET; there whether the picture is or not.
    preview_url: String,
}

/// `GET /easel/v1/datasets/{name}?offset=&limit=`
pub(super) async fn get(
    State(app): State<App>,
    caller: Caller,
    CallerAudience(audience): CallerAudience,
    Path(name): Path<String>,
    Query(page): Query<PageOf>,
) -> Result<Json<DatasetBody>, NativeError> {
    let (dataset, items) = find(&app, &caller, &name).await?;
    let limit = page.limit.unwrap_or(PAGE).min(PAGE);
    let mut shown = Vec::new();
    for item in items.iter().skip(page.offset).take(limit) {
        shown.push(item_body(&app, &dataset, item, &audience).await?);
    }
    let report_url = match dataset.report.as_deref().filter(|key| folders::may_read(&dataset.namespace, key))
    {
        Some(key) => sign_get(&app, key, &audience).await?,
        None => None,
    };
    Ok(Json(DatasetBody {
        state: word(dataset.enabled),
        ready: dataset.ready.holds,
        reason: dataset.ready.reason,
        message: dataset.ready.message,
        missing: dataset.counts.missing,
        invalid: dataset.counts.invalid,
        duplicates: dataset.counts.duplicates,
        report_url,
        total: items.len(),
        items: shown,
        name: dataset.name,
        dataset_name: dataset.dataset_name,
        description: dataset.description,
    }))
}

fn word(enabled: bool) -> &'static str {
    if enabled { "Enabled" } else { "Disabled" }
}

async fn item_body(
    app: &App,
    dataset: &DatasetView,
    item: &ItemView,
    audience: &Audience,
) -> Result<ItemBody, NativeError> {
    let key = datasets::key(dataset, item)?;
    let headers =
        ResponseHeaders { content_type: item.media_type.map(str::to_owned), ..ResponseHeaders::default() };
    let url = app.objects.presign_get(&key, audience, URL_LIFE, &headers).await?;
    Ok(ItemBody {
        name: item.name.clone(),
        state: word(item.enabled),
        caption: item.caption.clone(),
        preview_url: url.into_string(),
    })
}

/// `POST /easel/v1/datasets/{name}/uploads`: URLs for several pictures.
pub(super) async fn begin(
    State(app): State<App>,
    caller: Caller,
    CallerAudience(audience): CallerAudience,
    Path(name): Path<String>,
    NativeJson(asked): NativeJson<AskedFiles>,
) -> Result<Json<UploadUrls>, NativeError> {
    let count = asked.files.len();
    if count == 0 || count > MAX_FILES {
        return Err(NativeError::Input(format!("files has {count} entries; 1 to {MAX_FILES} are allowed")));
    }
    let (dataset, items) = find(&app, &caller, &name).await?;
    let mut keys = Vec::new();
    for AskedFile { name } in asked.files {
        keys.push((own_key(&dataset, &items, &name)?, name));
    }
    let mut files = Vec::new();
    for (key, name) in keys {
        let url = app.objects.presign_put(&key, &audience, URL_LIFE, None).await?;
        files.push(UploadUrl { name, url: url.into_string() });
    }
    Ok(Json(UploadUrls { files }))
}

/// `PUT /easel/v1/datasets/{name}/items/{item}`: one picture, as `curl -T` sends it.
pub(super) async fn put_item(
    State(app): State<App>,
    caller: Caller,
    Path((name, item)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, NativeError> {
    let most = MAX_PICTURE.min(app.config.max_upload_bytes);
    let key = match place(&app, &caller, &headers, &name, &item, most).await {
        Ok(key) => key,
        Err(error) => {
            discard(&headers, body).await;
            return Err(error);
        }
    };
    let stored = objects::put_stream(&*app.objects, &key, body.into_data_stream(), CONTENT_TYPE, most).await;
    stored.map_err(|error| put_error(item, most, error))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn place(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    name: &str,
    item: &str,
    most: u64,
) -> Result<ObjectKey, NativeError> {
    let (dataset, items) = find(app, caller, name).await?;
    let key = own_key(&dataset, &items, item)?;
    match announced(headers) {
        Some(0) => Err(NativeError::Input(format!("{} is empty", shown(item)))),
        Some(length) if length > most => Err(NativeError::TooLarge { file: shown(item), limit: most }),
        _ => Ok(key),
    }
}

async fn find(
    app: &App,
    caller: &Caller,
    name: &str,
) -> Result<(DatasetView, Arc<Vec<ItemView>>), NativeError> {
    if !app.directory.training_known() {
        return Err(NativeError::NotSynced);
    }
    let dataset = app.directory.dataset_called(&caller.namespace, name);
    let dataset = dataset.ok_or_else(|| NativeError::NoDataset(shown(name)))?;
    let items = datasets::items(app, &dataset).await?;
    Ok((dataset, items))
}

/// Where the bytes of a listed picture go; only below the Dataset's own folder.
fn own_key(dataset: &DatasetView, items: &[ItemView], name: &str) -> Result<ObjectKey, NativeError> {
    let item = items.iter().find(|item| item.name == name);
    let item =
        item.ok_or_else(|| NativeError::NotListed { dataset: dataset.name.clone(), item: shown(name) })?;
    let key = datasets::key(dataset, item)?;
    let folder = folders::dataset_folder(&dataset.namespace, &dataset.dataset_name);
    if key.as_str().strip_prefix(&folder).is_none_or(|rest| rest.contains('/')) {
        return Err(NativeError::Upload {
            file: shown(name),
            problem: format!("the Dataset has it elsewhere, under {key}; put it there"),
        });
    }
    Ok(key)
}

fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}
