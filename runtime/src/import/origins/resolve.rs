//! From what a task says to files: a repository or a folder becomes as many as it holds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use easel_protocol::import::{ImportFile, ImportTask, Origin};
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::api::{Api, bearer};
use super::hugging_face::Repository;
use super::{civitai, volume};
use crate::import::error::ImportError;
use crate::net::GuardedClient;

/// A file that can be fetched.
#[derive(Debug, Clone)]
pub(in crate::import) struct ResolvedFile {
    /// As the Model's status will call it; with slashes where it lies in a folder.
    pub name: String,
    pub place: ResolvedPlace,
    /// The hash that the Model's spec asks for, or that the origin announces: the bytes must have it.
    pub sha256: Option<String>,
    /// As the origin announces it.
    pub size_bytes: Option<u64>,
}

/// Where its bytes are.
#[derive(Clone)]
pub(in crate::import) enum ResolvedPlace {
    /// In our object store under `key` already; read through the presigned `url`, stay where they are.
    Stored { key: String, url: Url },
    /// At an address that a user or an origin named: only for the guarded client. `secrets` go to the host of
    /// `url` only.
    Remote { url: Url, secrets: HeaderMap },
    /// On the mounted volume, `path` below its root: to be read with [`super::copy`].
    Volume { path: PathBuf },
}

/// Without URLs and headers, which carry secrets.
impl std::fmt::Debug for ResolvedPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stored { key, .. } => f.debug_struct("Stored").field("key", key).finish_non_exhaustive(),
            Self::Remote { .. } => f.debug_struct("Remote").finish_non_exhaustive(),
            Self::Volume { path } => f.debug_struct("Volume").field("path", path).finish(),
        }
    }
}

/// Finds the files of a task: asks hubs, looks into folders. `volume` is where the Model's volume is mounted.
///
/// # Errors
/// An origin that is not there, does not let us in, or has no files for this Model.
pub(in crate::import) async fn resolve(
    task: &ImportTask,
    guarded: &GuardedClient,
    stall: Duration,
    volume: &Path,
) -> Result<Vec<ResolvedFile>, ImportError> {
    let mut files = Vec::with_capacity(task.files.len());
    for file in &task.files {
        match &file.origin {
            Origin::Stored { key, url } => {
                let place = ResolvedPlace::Stored { key: key.clone(), url: parse_url(&file.name, url)? };
                files.push(single(file, place));
            }
            Origin::Http { url, headers } => {
                let secrets = secret_headers(&file.name, headers)?;
                let place = ResolvedPlace::Remote { url: parse_url(&file.name, url)?, secrets };
                files.push(single(file, place));
            }
            Origin::HuggingFace { endpoint, repository, revision, files: wanted, ignore, token } => {
                let what = format!("Hugging Face repository {repository}");
                let secrets = bearer(&what, token.as_deref())?;
                let endpoint = parse_url(&file.name, endpoint)?;
                let repository =
                    Repository { endpoint: &endpoint, name: repository, revision, files: wanted, ignore };
                files.extend(repository.resolve(&Api { guarded, stall, what, secrets }).await?);
            }
            Origin::Civitai { endpoint, model_version_id, token } => {
                let what = format!("Civitai model version {model_version_id}");
                let secrets = bearer(&what, token.as_deref())?;
                let endpoint = parse_url(&file.name, endpoint)?;
                let api = Api { guarded, stall, what, secrets };
                files.push(
                    civitai::resolve(&api, &endpoint, *model_version_id, file.sha256.as_deref()).await?,
                );
            }
            Origin::Volume { path } => files.extend(volume::resolve(volume, path).await?),
        }
    }
    match files.is_empty() {
        true => Err(ImportError::NoFiles),
        false => Ok(files),
    }
}

fn single(file: &ImportFile, place: ResolvedPlace) -> ResolvedFile {
    ResolvedFile { name: file.name.clone(), place, sha256: file.sha256.clone(), size_bytes: None }
}

fn parse_url(file: &str, url: &str) -> Result<Url, ImportError> {
    Url::parse(url).map_err(|source| ImportError::BadUrl { file: file.to_owned(), source })
}

fn secret_headers(file: &str, headers: &[(String, String)]) -> Result<HeaderMap, ImportError> {
    let parse = |(name, value): &(String, String)| {
        let parsed = name.parse::<HeaderName>().ok().zip(value.parse::<HeaderValue>().ok());
        let (header, mut secret) =
            parsed.ok_or_else(|| ImportError::BadHeader { file: file.to_owned(), name: name.clone() })?;
        secret.set_sensitive(true);
        Ok((header, secret))
    };
    headers.iter().map(parse).collect()
}
