//! Model versions of a site that speaks Civitai's API: `/api/v1/model-versions/{id}` (developer.civitai.com, REST API
//! reference) names the files, their hashes and where they are.

use http::StatusCode;
use serde::Deserialize;
use url::Url;

use super::api::{Answer, Api};
use super::error::OriginError;
use super::resolve::{ResolvedFile, ResolvedPlace};

const MAX_NAME: usize = 128;

#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    name: String,
    #[serde(default)]
    primary: bool,
    /// `Model`, `Pruned Model`, `VAE`, `Training Data` …
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    hashes: Hashes,
    download_url: Option<String>,
    /// Information only: what a scan has not found may be there all the same.
    pickle_scan_result: Option<String>,
    virus_scan_result: Option<String>,
}

#[derive(Default, Deserialize)]
struct Hashes {
    #[serde(rename = "SHA256")]
    sha256: Option<String>,
}

/// The primary file of a version. `sha256` is the one that the Model's spec asks for.
pub(super) async fn resolve(
    api: &Api<'_>,
    endpoint: &Url,
    version: i64,
    sha256: Option<&str>,
) -> Result<ResolvedFile, OriginError> {
    let mut url = endpoint.clone();
    match url.path_segments_mut() {
        Ok(mut path) => {
            path.pop_if_empty().extend(["api", "v1", "model-versions", &version.to_string()]);
        }
        Err(()) => return Err(api.misunderstood("the endpoint is no web address")),
    }
    let answer = api.ask(&url).await?;
    check(api, endpoint, &answer)?;
    let Version { files } = api.read(&answer)?;
    let file = primary(&files).ok_or_else(|| OriginError::NothingMatches {
        what: api.what.clone(),
        found: "no file to download".to_owned(),
    })?;
    let download = file.download_url.as_deref().unwrap_or_default();
    let place = endpoint.join(download).map_err(|_| api.misunderstood("downloadUrl is no address"))?;
    // The token is for the site, not for whatever its answer names.
    let secrets = match place.origin() == endpoint.origin() {
        true => api.secrets.clone(),
        false => http::HeaderMap::new(),
    };
    tracing::info!(
        file = file.name,
        pickle_scan = file.pickle_scan_result,
        virus_scan = file.virus_scan_result,
        "file chosen"
    );
    let reached = Api { secrets: secrets.clone(), what: api.what.clone(), ..*api };
    let answer = reached.probe(&place).await?;
    check(api, endpoint, &answer)?;
    Ok(ResolvedFile {
        name: plain_name(&file.name, version),
        place: ResolvedPlace::Remote { url: place, secrets },
        sha256: sha256.map(str::to_owned).or_else(|| announced(file)),
        // `sizeKB` is rounded.
        size_bytes: None,
    })
}

/// The primary file, or else the first that is a model.
fn primary(files: &[File]) -> Option<&File> {
    let there = || files.iter().filter(|file| file.download_url.is_some());
    there().find(|file| file.primary).or_else(|| there().find(|file| file.kind != "Training Data"))
}

fn announced(file: &File) -> Option<String> {
    let hash = file.hashes.sha256.as_ref()?.to_ascii_lowercase();
    (hash.len() == 64 && hash.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(hash)
}

/// The file's own name if it is one.
fn plain_name(name: &str, version: i64) -> String {
    let odd = |letter: char| letter.is_control() || matches!(letter, '/' | '\\');
    match name.is_empty() || name.starts_with('.') || name.len() > MAX_NAME || name.contains(odd) {
        true => format!("civitai-{version}.safetensors"),
        false => name.to_owned(),
    }
}

fn check(api: &Api<'_>, endpoint: &Url, answer: &Answer) -> Result<(), OriginError> {
    let what = api.what.clone();
    // Who is not let in is led to a page for people.
    if answer.url.path().starts_with("/login") {
        return Err(OriginError::Gated { what, status: StatusCode::UNAUTHORIZED.as_u16() });
    }
    match answer.status {
        status if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND => Err(OriginError::NotFound {
            what,
            endpoint: endpoint.into(),
            field: "spec.source.civitai.modelVersionId",
        }),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Err(OriginError::Gated { what, status: status.as_u16() })
        }
        _ => Err(api.refused(answer)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn files(value: serde_json::Value) -> Vec<File> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_primary_file_is_taken_and_its_hash_read() {
        let found = files(json!([
            {"name": "data.zip", "type": "Training Data", "downloadUrl": "https://c/1"},
            {"name": "small.safetensors", "type": "Pruned Model", "downloadUrl": "https://c/2"},
            {"id": 3, "sizeKB": 144.5, "name": "full.safetensors", "type": "Model", "primary": true,
             "pickleScanResult": "Success", "pickleScanMessage": null, "virusScanResult": "Success",
             "metadata": {"fp": "fp16", "size": "full", "format": "SafeTensor"},
             "hashes": {"AutoV2": "ABCD", "SHA256": "AB".repeat(32), "CRC32": "00"},
             "downloadUrl": "https://c/3"},
        ]));
        let file = primary(&found).unwrap();
        assert_eq!((file.name.as_str(), announced(file)), ("full.safetensors", Some("ab".repeat(32))));
        assert_eq!(primary(&found[..2]).unwrap().name, "small.safetensors");
        assert!(primary(&found[..1]).is_none());
        assert!(primary(&files(json!([{"name": "hidden.safetensors", "primary": true}]))).is_none());
        let odd = files(json!([{"name": "x", "hashes": {"SHA256": "zz"}}]));
        assert_eq!(announced(&odd[0]), None);
    }

    #[test]
    fn a_name_stays_a_name() {
        for (name, want) in [
            ("a b (v1).safetensors", "a b (v1).safetensors"),
            ("../a", "civitai-7.safetensors"),
            ("a/b", "civitai-7.safetensors"),
            ("", "civitai-7.safetensors"),
        ] {
            assert_eq!(plain_name(name, 7), want);
        }
    }
}
