//! What an importer is to do, from the Model's spec. Pure but for the signing, which the caller does.

use easel_store::objects::ObjectKey;
use url::Url;

use super::error::WorkerError;
use crate::catalog::{ModelView, S3View, SourceView, TokenRef};
use crate::folders::may_read;

/// Longest name of a file that is taken from a URL.
const MAX_NAME: usize = 128;

/// One file to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub name: String,
    pub from: Place,
    pub sha256: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Stored(ObjectKey),
    Http {
        url: String,
        headers_secret: Option<String>,
    },
    S3(S3View),
    HuggingFace {
        repository: String,
        revision: String,
        files: Vec<String>,
        ignore: Vec<String>,
        token: Option<TokenRef>,
    },
    Civitai {
        model_version_id: i64,
        token: Option<TokenRef>,
    },
    Volume {
        path: String,
    },
}

/// Where a client's upload of one file of a Model is kept.
pub fn upload_key(namespace: &str, model: &str, file: &str) -> Result<ObjectKey, WorkerError> {
    let key = format!("models/{namespace}/{model}/upload/{file}");
    key.parse().map_err(|_| WorkerError::Input(format!("{file:?} cannot be part of an object's key")))
}

/// # Errors
/// [`WorkerError::NothingToImport`] when the source is not one for an importer, or not complete.
pub(super) fn wanted(model: &ModelView) -> Result<Vec<Wanted>, WorkerError> {
    let nothing = |reason, message| Err(WorkerError::NothingToImport { reason, message });
    match &model.source {
        SourceView::Upload { completed: false, .. } => nothing(
            "WaitingForUpload",
            format!("the upload of Model {}/{} is not complete", model.namespace, model.name),
        ),
        SourceView::Upload { files, completed: true } => files
            .iter()
            .map(|file| {
                let key = upload_key(&model.namespace, &model.name, &file.name)?;
                Ok(Wanted { name: file.name.clone(), from: Place::Stored(key), sha256: None })
            })
            .collect(),
        SourceView::ObjectStore { key, sha256 } => {
            if !may_read(&model.namespace, key) {
                return nothing(
                    "KeyNotAllowed",
                    format!("key {key} belongs to Easel or to another namespace"),
                );
            }
            let name = last_part(key);
            match key.parse() {
                Ok(key) => Ok(vec![Wanted { name, from: Place::Stored(key), sha256: sha256.clone() }]),
                Err(_) => nothing("InvalidKey", format!("{key:?} is no key of an object")),
            }
        }
        SourceView::Http { url, sha256, headers_secret } => {
            let from = Place::Http { url: url.clone(), headers_secret: headers_secret.clone() };
            one(name_from_url(url, &model.display_name), from, sha256)
        }
        SourceView::S3(source) => one(last_part(&source.key), Place::S3(source.clone()), &source.sha256),
        SourceView::HuggingFace { repository, revision, files, ignore, token } => {
            let from = Place::HuggingFace {
                repository: repository.clone(),
                revision: revision.clone(),
                files: files.clone(),
                ignore: ignore.clone(),
                token: token.clone(),
            };
            one(repository.clone(), from, &None)
        }
        SourceView::Civitai { model_version_id, sha256, token } => {
            let from = Place::Civitai { model_version_id: *model_version_id, token: token.clone() };
            one(model.display_name.clone(), from, sha256)
        }
        SourceView::Volume { path } => one(last_part(path), Place::Volume { path: path.clone() }, &None),
        SourceView::Merge(_) => nothing(
            "SourceNotSupported",
            "a merge takes the files of other Models, none of its own".to_owned(),
        ),
        SourceView::TrainingJob { .. } => {
            nothing("SourceNotSupported", "the file is named by the TrainingJob, not by the Model".to_owned())
        }
        SourceView::Absent => nothing("NoSource", "spec.source names no source".to_owned()),
    }
}

fn one(name: String, from: Place, sha256: &Option<String>) -> Result<Vec<Wanted>, WorkerError> {
    Ok(vec![Wanted { name, from, sha256: sha256.clone() }])
}

fn last_part(path: &str) -> String {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// The last part of the path if it looks like a file's name, else what the Model is called.
fn name_from_url(url: &str, display_name: &str) -> String {
    let parsed = Url::parse(url).ok();
    let last = parsed.as_ref().and_then(|url| url.path_segments()?.next_back().map(str::to_owned));
    let plain = |name: &String| {
        name.contains('.')
            && !name.starts_with('.')
            && name.len() <= MAX_NAME
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    last.filter(plain).unwrap_or_else(|| display_name.replace('/', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{ConditionView, DeclaredFile};

    fn model(source: SourceView) -> ModelView {
        ModelView {
            namespace: "team".into(),
            name: "m".into(),
            uid: "u".into(),
            display_name: "folder/m.safetensors".into(),
            model_type: "Checkpoint".into(),
            source,
            ready: ConditionView::absent(""),
            files: Vec::new(),
            trigger_words: Vec::new(),
        }
    }

    fn reason(source: SourceView) -> String {
        match wanted(&model(source)) {
            Err(WorkerError::NothingToImport { reason, .. }) => reason.to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_upload_is_imported_once_it_is_complete() {
        let files = || vec![DeclaredFile { name: "a.safetensors".into(), size_bytes: None }];
        assert_eq!(reason(SourceView::Upload { files: files(), completed: false }), "WaitingForUpload");
        let wanted =
            wanted(&model(SourceView::Upload { files: files(), completed: true })).expect("complete");
        let key = "models/team/m/upload/a.safetensors".parse().expect("a key");
        let want = Wanted { name: "a.safetensors".into(), from: Place::Stored(key), sha256: None };
        assert_eq!(wanted, [want]);
    }

    #[test]
    fn a_key_that_may_not_be_read_is_refused() {
        assert_eq!(reason(SourceView::ObjectStore { key: "out/1/x".into(), sha256: None }), "KeyNotAllowed");
        assert_eq!(reason(SourceView::ObjectStore { key: "a/../b".into(), sha256: None }), "InvalidKey");
        assert_eq!(reason(SourceView::Absent), "NoSource");
    }

    #[test]
    fn a_source_elsewhere_is_one_thing_to_fetch() {
        let s3 = S3View {
            bucket: "theirs".into(),
            key: "a/b.safetensors".into(),
            region: None,
            endpoint: None,
            credentials: None,
            sha256: Some("00".into()),
        };
        let cases = [
            (SourceView::S3(s3), "b.safetensors", Some("00")),
            (SourceView::Volume { path: "sd/model/".into() }, "model", None),
            (
                SourceView::Civitai { model_version_id: 7, sha256: Some("11".into()), token: None },
                "folder/m.safetensors",
                Some("11"),
            ),
        ];
        for (source, name, sha256) in cases {
            let wanted = wanted(&model(source)).expect("something to fetch");
            assert_eq!(wanted.len(), 1);
            assert_eq!((wanted[0].name.as_str(), wanted[0].sha256.as_deref()), (name, sha256));
        }
    }

    #[test]
    fn a_download_is_named_by_its_url_if_that_is_a_name() {
        let cases = [
            ("https://h/a/b/model.safetensors?x=y/z", "model.safetensors"),
            ("https://h/download/123", "folder_m.safetensors"),
            ("https://h/", "folder_m.safetensors"),
            ("https://h/.hidden", "folder_m.safetensors"),
            ("https://h/a%2f..%2fb.safetensors", "folder_m.safetensors"),
            ("nonsense", "folder_m.safetensors"),
        ];
        for (url, want) in cases {
            assert_eq!(name_from_url(url, "folder/m.safetensors"), want, "{url}");
        }
    }
}
