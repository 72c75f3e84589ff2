//! `cargo bench -p easel-facade`: how long `POST /inference-api/inference` takes while 50 callers send at the
//! same time. Real listener on loopback, real router, SQLite with its default durability; no cluster.

#[path = "../tests/facade/cluster.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "made for tests, which use the rest of it")]
mod cluster;
#[path = "../tests/facade/fixture.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "made for tests, which use the rest of it")]
mod fixture;
#[path = "../tests/facade/objects.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod objects;

use std::time::{Duration, Instant};

use fixture::Fixture;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const CALLERS: usize = 50;
const CALLS: usize = 40;
const WARM_UP: usize = 4;

#[tokio::main]
async fn main() {
    let listener = || TcpListener::bind("127.0.0.1:0");
    let (public, internal) = (listener().await.expect("a port"), listener().await.expect("a port"));
    let facade = Fixture::with(&[], Some((public, internal))).await;
    raise_queue_limit(&facade);
    let url = format!("{}/prod/inference-api/inference", facade.public);
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(caller(url.clone()));
    }
    let mut times: Vec<Duration> = callers.join_all().await.into_iter().flatten().collect();
    let took = started.elapsed();
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let rate = (CALLERS * (CALLS + WARM_UP)) as f64 / took.as_secs_f64();
    println!("POST /inference-api/inference, {CALLERS} callers at once, {} calls, SQLite", times.len());
    println!("{:>10} {:>10} {:>10} {:>10} {:>12}", "p50", "p90", "p99", "max", "jobs/s");
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
    println!("{:>10} {:>10} {:>10} {:>10} {rate:>12.0}", ms(at(0.5)), ms(at(0.9)), ms(at(0.99)), ms(at(1.0)));
    facade.end().await;
}

/// Lets more jobs wait than are sent.
fn raise_queue_limit(facade: &Fixture) {
    let endpoint = fixture::parse(&objects::DEMO_ENDPOINT.replace("maxPending: 100", "maxPending: 1000000"));
    let mut feeds = facade.feeds.lock().expect("nobody else holds it");
    feeds.endpoints[0].apply(&kube::runtime::watcher::Event::Apply(endpoint));
}

/// One caller on one connection; the first calls are not counted.
async fn caller(url: String) -> Vec<Duration> {
    let http = reqwest::Client::new();
    let body: Value = json!({
        "task_type": "txt2img", "prompt": "a red circle on a blue background", "sagemaker_endpoint_name": "demo",
        "models": {"Stable-diffusion": ["easel-demo.safetensors"]}, "steps": 20, "width": 128, "height": 128,
    });
    let mut times = Vec::with_capacity(CALLS);
    for call in 0..WARM_UP + CALLS {
        let started = Instant::now();
        let answer =
            http.post(&url).header("x-api-key", objects::KEY).json(&body).send().await.expect("an answer");
        assert_eq!(answer.status(), http::StatusCode::OK);
        answer.bytes().await.expect("a body");
        if call >= WARM_UP {
            times.push(started.elapsed());
        }
    }
    times
}
