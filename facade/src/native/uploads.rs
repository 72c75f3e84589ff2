//! Uploading the files of a Model whose source is `upload`: in parts to presigned URLs, or one PUT per file.
//! When the last declared file is there the Model is told, and the operator's import begins.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use easel_store::objects::{self, ObjectError, ObjectKey, Part};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::NativeError;
use super::json::NativeJson;
use super::store::{URL_LIFE, put_error};
use super::target::Target;
use crate::app::App;
use crate::auth::Caller;
use crate::catalog::DeclaredFile;
use crate::http::body::{announced, discard};
use crate::http::origin::CallerAudience;
use crate::parts;

const CONTENT_TYPE: &str = "application/octet-stream";

#[derive(Debug, Deserialize)]
pub struct BeginUpload {
    files: Vec<BeginFile>,
}

#[derive(Debug, Deserialize)]
pub struct BeginFile {
    name: String,
    size_bytes: u64,
}

#[derive(Debug, Serialize)]
pub struct UploadBegun {
    files: Vec<BegunFile>,
}

#[derive(Debug, Serialize)]
pub struct BegunFile {
    name: String,
    upload_id: String,
    /// Every part but the last has this size.
    part_size: u64,
    parts: Vec<PartUrl>,
}

#[derive(Debug, Serialize)]
pub struct PartUrl {
    part_number: u32,
    url: String,
}

#[derive(Debug, Deserialize)]
pub struct CompleteUpload {
    files: Vec<CompleteFile>,
}

#[derive(Debug, Deserialize)]
pub struct CompleteFile {
    name: String,
    upload_id: String,
    parts: Vec<CompletePart>,
}

#[derive(Debug, Deserialize)]
pub struct CompletePart {
    part_number: u32,
    etag: String,
}

/// What is there now and what is missing.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct UploadState {
    model: String,
    /// All declared files are there; the import begins.
    complete: bool,
    missing: Vec<String>,
}

/// `POST /easel/v1/models/{name}/uploads`: URLs for the parts of each file.
pub(super) async fn begin(
    State(app): State<App>,
    caller: Caller,
    CallerAudience(audience): CallerAudience,
    Path(name): Path<String>,
    NativeJson(body): NativeJson<BeginUpload>,
) -> Result<Json<UploadBegun>, NativeError> {
    let target = Target::find(&app, &caller, &name)?;
    if body.files.is_empty() || body.files.len() > target.files.len() {
        let most = target.files.len();
        return Err(NativeError::Input(format!(
            "files has {} entries; 1 to {most} are allowed",
            body.files.len()
        )));
    }
    // All are checked before the first upload is begun.
    for asked in &body.files {
        let declared = target.file(&asked.name)?;
        check_size(&app, declared, asked.size_bytes)?;
    }
    let mut files = Vec::new();
    for BeginFile { name, size_bytes } in body.files {
        let key = target.key(target.file(&name)?)?;
        let part_size = parts::part_size(size_bytes);
        let upload_id = app.objects.create_upload(&key, CONTENT_TYPE).await?;
        let mut urls = Vec::new();
        for part_number in 1..=parts::count(size_bytes, part_size) {
            let signed = app.objects.presign_part(&key, &upload_id, part_number, &audience, URL_LIFE).await?;
            urls.push(PartUrl { part_number, url: signed.into_string() });
        }
        files.push(BegunFile { name, upload_id, part_size, parts: urls });
    }
    Ok(Json(UploadBegun { files }))
}

/// `POST /easel/v1/models/{name}/uploads/complete`: makes files of the parts. May be repeated.
pub(super) async fn complete(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    NativeJson(body): NativeJson<CompleteUpload>,
) -> Result<Json<UploadState>, NativeError> {
    let target = Target::find(&app, &caller, &name)?;
    for CompleteFile { name, upload_id, parts } in body.files {
        let declared = target.file(&name)?;
        let key = target.key(declared)?;
        let parts: Vec<Part> =
            parts.into_iter().map(|part| Part { number: part.part_number, etag: part.etag }).collect();
        let size = match app.objects.complete_upload(&key, &upload_id, &parts).await {
            Ok(meta) => meta.size,
            // Completed by an earlier call whose answer was lost, or never begun.
            Err(error @ ObjectError::NoSuchUpload { .. }) => match app.objects.head(&key).await? {
                Some(meta) => meta.size,
                None => return Err(NativeError::Upload { file: name, problem: error.to_string() }),
            },
            Err(error) if !error.retriable() => {
                return Err(NativeError::Upload { file: name, problem: error.to_string() });
            }
            Err(error) => return Err(error.into()),
        };
        check_size(&app, declared, size)?;
    }
    finish(&app, &target).await.map(Json)
}

/// `PUT /easel/v1/models/{name}/files/{file}`: one file in one request, as `curl -T` sends it.
pub(super) async fn put_file(
    State(app): State<App>,
    caller: Caller,
    Path((name, file)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<UploadState>), NativeError> {
    let (target, declared, key) = match place(&app, &caller, &headers, &name, &file) {
        Ok(place) => place,
        Err(error) => {
            discard(&headers, body).await;
            return Err(error);
        }
    };
    let most = declared.size_bytes.unwrap_or(app.config.max_upload_bytes);
    let stored = objects::put_stream(&*app.objects, &key, body.into_data_stream(), CONTENT_TYPE, most).await;
    let meta = stored.map_err(|error| put_error(file, most, error))?;
    check_size(&app, &declared, meta.size)?;
    Ok((StatusCode::CREATED, Json(finish(&app, &target).await?)))
}

/// Where the file goes, if it may come.
fn place(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    name: &str,
    file: &str,
) -> Result<(Target, DeclaredFile, ObjectKey), NativeError> {
    let target = Target::find(app, caller, name)?;
    let declared = target.file(file)?.clone();
    if let Some(length) = announced(headers) {
        check_size(app, &declared, length)?;
    }
    let key = target.key(&declared)?;
    Ok((target, declared, key))
}

fn check_size(app: &App, declared: &DeclaredFile, actual: u64) -> Result<(), NativeError> {
    let file = || declared.name.clone();
    let limit = app.config.max_upload_bytes;
    match declared.size_bytes {
        Some(expected) if expected != actual => {
            Err(NativeError::WrongSize { file: file(), actual, expected })
        }
        _ if actual == 0 => Err(NativeError::Input(format!("{} is empty", declared.name))),
        _ if actual > limit => Err(NativeError::TooLarge { file: file(), limit }),
        _ => Ok(()),
    }
}

/// Tells the Model once every declared file is there.
async fn finish(app: &App, target: &Target) -> Result<UploadState, NativeError> {
    let mut missing = Vec::new();
    for file in &target.files {
        let stored = app.objects.head(&target.key(file)?).await?;
        if stored.is_none_or(|meta| file.size_bytes.is_some_and(|size| size != meta.size)) {
            missing.push(file.name.clone());
        }
    }
    let model = target.model.name.clone();
    let complete = missing.is_empty();
    if complete {
        let marked = app.cluster.mark_uploaded(&target.model.namespace, &model, Timestamp::now()).await?;
        if !marked {
            return Err(NativeError::NoModel(model));
        }
        tracing::info!(namespace = target.model.namespace, model, "an upload is complete");
    }
    Ok(UploadState { model, complete, missing })
}
