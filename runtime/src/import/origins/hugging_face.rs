//! Repositories of a hub that speaks Hugging Face's API.
//!
//! The calls and their answers are those that `huggingface_hub` (`hf_api.py`, `utils/_http.py`) makes and reads:
//! `/api/models/{repository}/revision/{revision}` names the commit, `/tree/{commit}` lists its files in pages,
//! `/{repository}/resolve/{commit}/{path}` has the bytes, for large files by a redirect to another host.

use http::StatusCode;
use http::header::LINK;
use serde::Deserialize;
use url::Url;

use super::api::{Answer, Api};
use super::choose::{Wish, choose};
use super::error::OriginError;
use super::resolve::{ResolvedFile, ResolvedPlace};

/// Pages of a thousand files each.
const MAX_PAGES: usize = 20;
const MAX_PATH: usize = 512;
/// What went wrong, in a word.
const ERROR_CODE: &str = "x-error-code";

/// What `Origin::HuggingFace` says, its token apart.
pub(super) struct Repository<'a> {
    pub(super) endpoint: &'a Url,
    /// `owner/name`.
    pub(super) name: &'a str,
    pub(super) revision: &'a str,
    pub(super) files: &'a [String],
    pub(super) ignore: &'a [String],
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Lfs>,
}

/// What the pointer in the repository says of a large file.
#[derive(Deserialize)]
struct Lfs {
    /// sha256.
    oid: String,
    size: u64,
}

impl Repository<'_> {
    /// The files to fetch, all of one commit.
    pub(super) async fn resolve(&self, api: &Api<'_>) -> Result<Vec<ResolvedFile>, OriginError> {
        let commit = self.commit(api).await?;
        let entries = self.tree(api, &commit).await?;
        let paths: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        let wish = Wish { what: &api.what, files: self.files, ignore: self.ignore };
        let chosen = choose(&wish, &paths)?;
        tracing::info!(repository = self.name, commit, files = chosen.len(), "files chosen");
        let alone = chosen.len() == 1;
        let mut files = Vec::with_capacity(chosen.len());
        for path in &chosen {
            let Some(entry) = entries.iter().find(|entry| entry.path == *path) else { continue };
            files.push(self.file(api, &commit, entry, alone)?);
        }
        self.let_in(api, &files).await?;
        Ok(files)
    }

    async fn commit(&self, api: &Api<'_>) -> Result<String, OriginError> {
        let url = self.url(api, &["api", "models", self.name, "revision"], &[self.revision])?;
        let answer = api.ask(&url).await?;
        self.check(api, &answer)?;
        let Revision { sha } = api.read(&answer)?;
        match sha.len() == 40 && sha.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            true => Ok(sha),
            false => Err(api.misunderstood("the commit is not 40 hexadecimal digits")),
        }
    }

    async fn tree(&self, api: &Api<'_>, commit: &str) -> Result<Vec<Entry>, OriginError> {
        let mut url = self.url(api, &["api", "models", self.name, "tree"], &[commit])?;
        url.set_query(Some("recursive=true"));
        let mut entries = Vec::new();
        for _ in 0..MAX_PAGES {
            let answer = api.ask(&url).await?;
            self.check(api, &answer)?;
            let page: Vec<Entry> = api.read(&answer)?;
            entries.extend(page.into_iter().filter(|entry| entry.kind == "file"));
            if let Some(bad) = entries.iter().find(|entry| !is_plain(&entry.path)) {
                return Err(api.misunderstood(format!("{:?} is no path of a file", bad.path)));
            }
            let Some(next) = next_page(&answer) else { return Ok(entries) };
            // The token goes to whom we ask: an answer may not send us elsewhere with it.
            if next.origin() != self.endpoint.origin() {
                return Err(api.misunderstood("its next page is on another server"));
            }
            url = next;
        }
        let found = entries.len();
        Err(OriginError::TooManyFiles { what: api.what.clone(), found, limit: MAX_PAGES * 1000 })
    }

    fn file(
        &self,
        api: &Api<'_>,
        commit: &str,
        entry: &Entry,
        alone: bool,
    ) -> Result<ResolvedFile, OriginError> {
        let segments: Vec<&str> = entry.path.split('/').collect();
        let url = self.url(api, &[self.name, "resolve"], &[&[commit][..], &segments].concat())?;
        let is_hash = |oid: &&String| oid.len() == 64 && oid.bytes().all(|digit| digit.is_ascii_hexdigit());
        let sha256 = entry.lfs.as_ref().map(|lfs| &lfs.oid).filter(is_hash).map(|oid| oid.to_lowercase());
        let last = segments.last().copied().unwrap_or_default();
        Ok(ResolvedFile {
            name: if alone { last.to_owned() } else { entry.path.clone() },
            place: ResolvedPlace::Remote { url, secrets: api.secrets.clone() },
            sha256,
            size_bytes: Some(entry.lfs.as_ref().map_or(entry.size, |lfs| lfs.size)),
        })
    }

    /// The list of a gated repository is open to all, its files are not: better known before an hour of transfer.
    async fn let_in(&self, api: &Api<'_>, files: &[ResolvedFile]) -> Result<(), OriginError> {
        let largest = files.iter().max_by_key(|file| file.size_bytes);
        if let Some(ResolvedPlace::Remote { url, .. }) = largest.map(|file| &file.place) {
            let answer = api.probe(url).await?;
            self.check(api, &answer)?;
        }
        Ok(())
    }

    fn check(&self, api: &Api<'_>, answer: &Answer) -> Result<(), OriginError> {
        if answer.status.is_success() {
            return Ok(());
        }
        let what = api.what.clone();
        let gone = |what| OriginError::NotFound {
            what,
            endpoint: self.endpoint.into(),
            field: "spec.source.huggingFace.repository",
        };
        let code = answer.headers.get(ERROR_CODE).and_then(|code| code.to_str().ok()).unwrap_or_default();
        Err(match (code, answer.status) {
            ("RevisionNotFound", _) => OriginError::NoRevision { what, revision: self.revision.to_owned() },
            ("RepoNotFound", _) => gone(what),
            // What it is that was not found, the hub says; a mirror may not.
            (_, StatusCode::NOT_FOUND) => gone(what),
            ("GatedRepo", status) | (_, status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) => {
                OriginError::Gated { what, status: status.as_u16() }
            }
            _ => api.refused(answer),
        })
    }

    /// An address below the endpoint. `words` are taken apart at slashes, `exact` are not.
    fn url(&self, api: &Api<'_>, words: &[&str], exact: &[&str]) -> Result<Url, OriginError> {
        let mut url = self.endpoint.clone();
        let words = words.iter().flat_map(|word| word.split('/'));
        match url.path_segments_mut() {
            Ok(mut path) => {
                path.pop_if_empty().extend(words).extend(exact);
            }
            Err(()) => return Err(api.misunderstood("the endpoint is no web address")),
        }
        Ok(url)
    }
}

/// `Link: <address>; rel="next"` (RFC 8288).
fn next_page(answer: &Answer) -> Option<Url> {
    let links = answer.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let next = links.flat_map(|value| value.split(',')).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = parameters.split(';').any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next"));
        next.then_some(target)
    })?;
    answer.url.join(next).ok()
}

/// Segments that are names, so that neither an address nor a status says something else.
fn is_plain(path: &str) -> bool {
    path.len() <= MAX_PATH
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.chars().any(|letter| letter.is_control() || letter == '\\')
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn the_next_page_is_the_link_that_says_so() {
        let next = |link: &str| {
            let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_str(link).unwrap())]);
            let url = Url::parse("https://hub/api/tree?x=1").unwrap();
            next_page(&Answer { status: StatusCode::OK, headers, url, body: vec![] }).map(String::from)
        };
        let want = Some("https://hub/api/tree?cursor=a".to_owned());
        assert_eq!(next("<https://hub/api/tree?cursor=a>; rel=\"next\""), want);
        assert_eq!(next("</first>; rel=\"first\", </api/tree?cursor=a>; rel=\"next\""), want);
        assert_eq!(next("<https://hub/first>; rel=\"first\""), None);
        assert_eq!(next("nonsense"), None);
    }

    #[test]
    fn a_path_of_a_hostile_hub_is_refused() {
        for (path, good) in [
            ("unet/diffusion_pytorch_model.safetensors", true),
            (".gitattributes", true),
            ("../x", false),
            ("a/../../x", false),
            ("/a", false),
            ("a//b", false),
            ("a\\b", false),
            ("a\nb", false),
            ("", false),
        ] {
            assert_eq!(is_plain(path), good, "{path:?}");
        }
    }
}
