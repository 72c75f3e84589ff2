//! Under which address a caller reached us: URLs that go back to him have to work from where he is.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use easel_store::objects::Audience;
use http::header::HOST;
use http::request::Parts;
use url::Url;

use crate::app::App;

/// The audience that URLs for this caller are signed for. A configured public address wins in the store.
pub struct CallerAudience(pub Audience);

impl FromRequestParts<App> for CallerAudience {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        // An S3 service has an address of its own; only the embedded store is where we are.
        let origin = app.embedded.as_ref().and_then(|_| origin(parts, app.config.trust_forwarded));
        Ok(Self(Audience::Public(origin)))
    }
}

fn origin(parts: &Parts, trust_forwarded: bool) -> Option<Url> {
    let header = |name: &str| parts.headers.get(name)?.to_str().ok().map(|value| value.split(',').next());
    let forwarded = |name: &str| header(name).flatten().map(str::trim).filter(|_| trust_forwarded);
    let host = forwarded("x-forwarded-host")
        .or_else(|| parts.headers.get(HOST)?.to_str().ok())
        .or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))?;
    let scheme = match forwarded("x-forwarded-proto") {
        Some("https") => "https",
        _ => "http",
    };
    // Through `Authority`, so that nothing but host and port gets into the URL.
    let authority: http::uri::Authority = host.parse().ok()?;
    let port = authority.port_u16().map_or_else(String::new, |port| format!(":{port}"));
    Url::parse(&format!("{scheme}://{}{port}", authority.host())).ok()
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;

    use super::*;

    #[test]
    fn the_origin_is_what_the_caller_used() {
        let plain = [("host", "localhost:8080")];
        let proxied =
            [("host", "inner"), ("x-forwarded-host", "a.example, b"), ("x-forwarded-proto", "https")];
        let odd = [("host", "user:pass@evil/path?q")];
        type Headers<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Headers<'_>, bool, Option<&str>); 5] = [
            (&plain, false, Some("http://localhost:8080/")),
            (&proxied, true, Some("https://a.example/")),
            (&proxied, false, Some("http://inner/")),
            (&odd, false, None),
            (&[], false, None),
        ];
        for (headers, trust, want) in cases {
            let mut request = Request::builder();
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).expect("request").into_parts();
            assert_eq!(origin(&parts, trust).as_ref().map(Url::as_str), want, "{headers:?}");
        }
    }
}
