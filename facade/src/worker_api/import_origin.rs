//! Where an importer finds a file: addresses are signed and Secrets are read here, so that the importer needs neither
//! credentials of a bucket nor a right to read Secrets.

use easel_protocol::import::Origin;
use easel_store::objects::{Audience, ResponseHeaders};
use http::{HeaderName, HeaderValue};

use super::error::WorkerError;
use super::import_s3;
use super::import_task::Place;
use super::models::URL_LIFE;
use crate::app::App;
use crate::catalog::{ClusterError, ModelView, SecretData, SecretUse, TokenRef};

/// # Errors
/// [`WorkerError::NothingToImport`] when a Secret is missing or unusable; otherwise a call failed.
pub(super) async fn origin(app: &App, model: &ModelView, from: Place) -> Result<Origin, WorkerError> {
    match from {
        Place::Stored(key) => {
            let headers = ResponseHeaders::default();
            let url = app.objects.presign_get(&key, &Audience::Worker, URL_LIFE, &headers).await?;
            Ok(Origin::Stored { key: key.as_str().to_owned(), url: url.into_string() })
        }
        Place::Http { url, headers_secret } => {
            let headers = match headers_secret {
                Some(secret) => headers(app, model, &secret).await?,
                None => Vec::new(),
            };
            Ok(Origin::Http { url, headers })
        }
        Place::S3(source) => {
            let credentials = match &source.credentials {
                Some(name) => {
                    let data = secret(app, model, name, SecretUse::S3Credentials).await?;
                    let id = entry(model, name, &data, "accessKeyId")?;
                    Some((id, entry(model, name, &data, "secretAccessKey")?.into()))
                }
                None => None,
            };
            let url = import_s3::address(&source, credentials.as_ref()).await?;
            Ok(Origin::Http { url, headers: Vec::new() })
        }
        Place::HuggingFace { repository, revision, files, ignore, token } => Ok(Origin::HuggingFace {
            endpoint: app.config.hugging_face_endpoint.to_string(),
            repository,
            revision,
            files,
            ignore,
            token: self::token(app, model, token.as_ref()).await?,
        }),
        Place::Civitai { model_version_id, token } => Ok(Origin::Civitai {
            endpoint: app.config.civitai_endpoint.to_string(),
            model_version_id,
            token: self::token(app, model, token.as_ref()).await?,
        }),
        Place::Volume { path } => Ok(Origin::Volume { path }),
    }
}

/// The headers that a Secret in the Model's namespace holds.
async fn headers(app: &App, model: &ModelView, name: &str) -> Result<Vec<(String, String)>, WorkerError> {
    let data = secret(app, model, name, SecretUse::HttpHeaders).await?;
    let header = |(name, value): (String, Vec<u8>)| {
        let text = text(value)?;
        let sendable = HeaderName::try_from(&name).is_ok() && HeaderValue::try_from(&text).is_ok();
        sendable.then_some((name, text))
    };
    // Which entry it is would be a hint at its value; the Secret's owner finds it.
    data.into_iter().map(header).collect::<Option<_>>().ok_or_else(|| {
        unusable(format!("Secret {}/{name} holds an entry that cannot be a header", model.namespace))
    })
}

async fn token(
    app: &App,
    model: &ModelView,
    reference: Option<&TokenRef>,
) -> Result<Option<String>, WorkerError> {
    let Some(TokenRef { secret: name, key }) = reference else { return Ok(None) };
    let data = secret(app, model, name, SecretUse::AccessToken).await?;
    entry(model, name, &data, key).map(Some)
}

async fn secret(
    app: &App,
    model: &ModelView,
    name: &str,
    purpose: SecretUse,
) -> Result<SecretData, WorkerError> {
    let namespace = &model.namespace;
    match app.cluster.secret(namespace, name, purpose).await {
        Ok(Some(data)) => Ok(data),
        Ok(None) => {
            let label = purpose.label();
            Err(unusable(format!(
                "Secret {namespace}/{name} is not found or lacks the label easel.dev/use: {label}"
            )))
        }
        Err(denied @ ClusterError::SecretsDenied { .. }) => Err(unusable(denied.to_string())),
        Err(error) => Err(error.into()),
    }
}

fn entry(model: &ModelView, name: &str, data: &SecretData, key: &str) -> Result<String, WorkerError> {
    let value = data.get(key).cloned().and_then(text).filter(|value| !value.is_empty());
    value.ok_or_else(|| {
        unusable(format!("Secret {}/{name} has no entry {key} with a text in it", model.namespace))
    })
}

/// Editors and `kubectl create secret --from-file` leave line ends behind.
fn text(value: Vec<u8>) -> Option<String> {
    String::from_utf8(value).ok().map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
}

fn unusable(message: String) -> WorkerError {
    WorkerError::NothingToImport { reason: "SecretNotUsable", message }
}
