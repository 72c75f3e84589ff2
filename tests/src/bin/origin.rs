//! A web server with the faults that imports meet: runs as a pod beside the tests.
//!
//! | path | behaviour |
//! |---|---|
//! | `/files/NAME` | the file, ranges included |
//! | `/stall/NAME` | sends 64 KiB, then nothing more |
//! | `/truncate/NAME` | promises the whole file, closes after 64 KiB, each time |
//! | anything else | 404 |

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::{StreamExt, stream};
use tower_http::services::ServeDir;

/// What the faulty routes send before they fail.
const BEGINNING: usize = 64 * 1024;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::var("ORIGIN_FILES").unwrap_or_else(|_| "/files".into()));
    let routes = Router::new()
        .route("/stall/{name}", get(stall))
        .route("/truncate/{name}", get(truncate))
        .nest_service("/files", ServeDir::new(&folder))
        .with_state(folder);
    let listener = tokio::net::TcpListener::bind("0.0.0.0:8000").await?;
    axum::serve(listener, routes)
        .with_graceful_shutdown(async {
            let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
            if let Ok(mut signal) = terminate {
                signal.recv().await;
            }
        })
        .await?;
    Ok(())
}

async fn beginning(folder: PathBuf, name: &str) -> io::Result<(usize, Bytes)> {
    let bytes = tokio::fs::read(folder.join(name.replace(['/', '\\'], ""))).await?;
    Ok((bytes.len(), Bytes::from(bytes).slice(..BEGINNING)))
}

async fn stall(State(folder): State<PathBuf>, Path(name): Path<String>) -> Response {
    reply(folder, &name, stream::pending().boxed()).await
}

async fn truncate(State(folder): State<PathBuf>, Path(name): Path<String>) -> Response {
    let reset = async {
        // Time for the beginning to be sent: an error at once would end the connection before its first byte.
        tokio::time::sleep(Duration::from_millis(200)).await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    };
    reply(folder, &name, stream::once(reset).boxed()).await
}

async fn reply(folder: PathBuf, name: &str, rest: stream::BoxStream<'static, io::Result<Bytes>>) -> Response {
    match beginning(folder, name).await {
        Ok((size, first)) => {
            let body = Body::from_stream(stream::once(async { Ok(first) }).chain(rest));
            ([(CONTENT_LENGTH, size.to_string())], body).into_response()
        }
        Err(error) => (axum::http::StatusCode::NOT_FOUND, error.to_string()).into_response(),
    }
}
