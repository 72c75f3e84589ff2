//! What a request to the API server is about, read from its method and path.

use http::Method;

/// The resource of a request, as metrics name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKind {
    /// E.g. `endpoints`, `deployments`; `other` for what is no resource.
    pub resource: String,
    /// E.g. `status`; empty for the object itself.
    pub subresource: String,
}

/// Does the method change anything?
pub fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

impl RequestKind {
    /// Reads `/api/v1/...` and `/apis/GROUP/VERSION/...`, with or without a namespace.
    pub fn of_path(path: &str) -> Self {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let known = match parts.next() {
            Some("api") => parts.next().is_some(),
            Some("apis") => parts.next().is_some() && parts.next().is_some(),
            _ => false,
        };
        let rest: Vec<&str> = parts.collect();
        let (resource, subresource) = match (known, rest.as_slice()) {
            (true, ["namespaces", _, resource, _, sub, ..]) => (*resource, *sub),
            (true, ["namespaces", _, resource, ..]) => (*resource, ""),
            (true, [resource, _, sub, ..]) => (*resource, *sub),
            (true, [resource, ..]) => (*resource, ""),
            _ => ("other", ""),
        };
        Self { resource: resource.to_owned(), subresource: subresource.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_their_resource() {
        let cases = [
            ("/api/v1/namespaces/a/pods", "pods", ""),
            ("/api/v1/pods", "pods", ""),
            ("/apis/easel.dev/v1alpha1/namespaces/a/endpoints/demo/status", "endpoints", "status"),
            ("/apis/apps/v1/namespaces/a/deployments/x", "deployments", ""),
            ("/apis/coordination.k8s.io/v1/namespaces/easel/leases/easel-operator", "leases", ""),
            ("/version", "other", ""),
            ("/apis", "other", ""),
        ];
        for (path, resource, subresource) in cases {
            let want = RequestKind { resource: resource.into(), subresource: subresource.into() };
            assert_eq!(RequestKind::of_path(path), want, "{path}");
        }
    }
}
