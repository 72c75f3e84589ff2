//! What an address that a user named must not reach, and what must not reach it.

use easel_protocol::import::Origin as From;
use easel_runtime::import::{ImportError, import};

use crate::support::{FakeFacade, Origin, Reply, import_config, tiny_checkpoint};

async fn run(url: String, headers: Vec<(String, String)>) -> Result<(), ImportError> {
    let facade = FakeFacade::start().await;
    facade.import_task("Checkpoint", From::Http { url, headers }, None);
    let directory = tempfile::tempdir().unwrap();
    import(&import_config(&facade, &directory)).await.map(drop)
}

#[tokio::test]
async fn forbidden_targets_are_refused_directly_and_behind_a_redirect() {
    for (target, reason) in [
        ("http://127.0.0.2/m", "UrlAddressRefused"),
        ("http://[::1]:9/m", "UrlAddressRefused"),
        ("http://169.254.169.254/latest/meta-data", "UrlAddressRefused"),
        ("http://[64:ff9b::a9fe:a9fe]/", "UrlAddressRefused"),
        ("http://10.96.0.1/m", "UrlAddressRefused"),
        ("http://0x7f000002/m", "UrlAddressRefused"),
        ("file:///etc/passwd", "UrlSchemeRefused"),
        ("ftp://example.com/m", "UrlSchemeRefused"),
    ] {
        let direct = run(target.to_owned(), vec![]).await.unwrap_err();
        assert_eq!((direct.reason(), direct.retriable()), (reason, false), "{target}");
        let origin = Origin::start(vec![Reply::redirect(target)]).await;
        let behind = run(origin.url(), vec![]).await.unwrap_err();
        assert_eq!((behind.reason(), behind.retriable()), (reason, false), "redirect to {target}");
        assert_eq!(origin.requests().len(), 1);
    }
}

#[tokio::test]
async fn redirects_end() {
    let origin = Origin::start(vec![Reply::redirect("/again")]).await;
    let error = run(origin.url(), vec![]).await.unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("UrlRedirectRefused", false));
    assert_eq!(origin.requests().len(), 6, "the first request and five redirects");
    let nowhere = Origin::start(vec![Reply::new("302 Found", &["content-length: 0"], b"")]).await;
    assert_eq!(run(nowhere.url(), vec![]).await.unwrap_err().reason(), "UrlRedirectRefused");
}

#[tokio::test]
async fn secrets_go_only_to_the_server_that_the_user_named() {
    let other = Origin::start(vec![Reply::file(&tiny_checkpoint())]).await;
    let elsewhere = format!("http://{}/cdn", other.address);
    let named = Origin::start(vec![Reply::redirect("/moved"), Reply::redirect(&elsewhere)]).await;
    let secret = ("Authorization".to_owned(), "Bearer hf_secret".to_owned());
    run(named.url(), vec![secret]).await.unwrap();
    let requests = named.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|head| head.contains("authorization: bearer hf_secret")), "{requests:?}");
    assert!(!other.requests()[0].contains("hf_secret"), "{:?}", other.requests());
}

#[tokio::test]
async fn what_is_no_url_or_header_is_named() {
    let error = run("not a url".to_owned(), vec![]).await.unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("InvalidUrl", false));
    let header = ("X-Token".to_owned(), "line\nbreak".to_owned());
    let error = run("http://127.0.0.1:9/".to_owned(), vec![header]).await.unwrap_err();
    assert_eq!(error.reason(), "InvalidHeaders");
    assert!(error.to_string().contains("X-Token") && !error.to_string().contains("break"));
}
