//! Paths as clients of the dialects write them, brought to the one form that the routes have: the stage
//! prefix `/prod` is optional, repeated slashes count as one, a trailing slash does not count
//! (specs/aws-extension.md §2). Object keys are left alone: their signature covers every byte.

use http::Uri;
use http::uri::PathAndQuery;

const STAGE: &str = "/prod";

/// Rewrites the path of a request unless it belongs to the embedded object store's `bucket`.
pub fn normalise(uri: &mut Uri, bucket: Option<&str>) {
    let path = uri.path();
    if bucket.is_some_and(|bucket| is_below(path, bucket)) {
        return;
    }
    let wanted = canonical(path);
    if wanted == path {
        return;
    }
    let with_query = match uri.query() {
        Some(query) => format!("{wanted}?{query}"),
        None => wanted,
    };
    // A part of a valid path is a valid path; should that ever fail, the request meets "unknown route".
    if let Ok(path_and_query) = PathAndQuery::try_from(with_query) {
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(path_and_query);
        if let Ok(rewritten) = Uri::from_parts(parts) {
            *uri = rewritten;
        }
    }
}

fn is_below(path: &str, bucket: &str) -> bool {
    path.strip_prefix('/')
        .and_then(|rest| rest.strip_prefix(bucket))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn canonical(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        out.push('/');
        out.push_str(segment);
    }
    let stripped = match out.strip_prefix(STAGE) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => &out,
    };
    if stripped.is_empty() { "/".to_owned() } else { stripped.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stage_and_double_slashes_make_no_difference() {
        let cases = [
            ("/inference/test-connection", "/inference/test-connection"),
            ("/prod/inference/test-connection", "/inference/test-connection"),
            ("//prod//inference///test-connection/", "/inference/test-connection"),
            ("/prod", "/"),
            ("/", "/"),
            ("/production/x", "/production/x"),
            ("/prod/inference/get-inference-job?jobID=a//b", "/inference/get-inference-job?jobID=a//b"),
            ("/easel/v1/models/m/uploads", "/easel/v1/models/m/uploads"),
            ("/bucket//out//x.png?X-Amz-Signature=1", "/bucket//out//x.png?X-Amz-Signature=1"),
            ("/bucketeer//x", "/bucketeer/x"),
        ];
        for (given, want) in cases {
            let mut uri: Uri = given.parse().expect("valid URI");
            normalise(&mut uri, Some("bucket"));
            assert_eq!(uri.to_string(), want, "{given}");
        }
    }

    #[test]
    fn absolute_form_keeps_its_authority() {
        let mut uri: Uri = "http://host:1/prod//inference".parse().expect("valid URI");
        normalise(&mut uri, None);
        assert_eq!(uri.to_string(), "http://host:1/inference");
    }
}
