//! One run of the operator against the API server in memory, until nothing changes or it crashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use easel_operator::catalogue::Catalogue;
use easel_operator::client::{FaultLayer, Faults};
use easel_operator::config::Config;
use easel_operator::context::{Ctx, Settings};
use easel_operator::metrics::Metrics;
use easel_operator::{dataset, endpoint, model, training};
use http::Request;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use tower::{BoxError, Layer, service_fn};

use crate::api::Api;
use crate::fixture::{DATASETS, ENDPOINTS, MODELS, TRAININGS};
use crate::world;

/// More rounds than any scenario needs; a state that never settles is a bug of its own.
const MAX_ROUNDS: usize = 60;

/// A process of the operator, with nothing in memory.
pub struct Process {
    pub ctx: Arc<Ctx>,
    crashed: Arc<AtomicBool>,
}

impl Process {
    /// Starts one whose requests meet these faults.
    pub fn start(api: &Api, faults: &str) -> Self {
        let crashed = Arc::new(AtomicBool::new(false));
        let (api, dead) = (api.clone(), crashed.clone());
        let server = service_fn(move |request: Request<Body>| {
            let (api, dead) = (api.clone(), dead.clone());
            async move {
                if dead.load(Ordering::SeqCst) {
                    return Err(BoxError::from("this process is dead"));
                }
                Ok(api.answer(request).await)
            }
        });
        let faults: Faults = faults.parse().unwrap();
        let flag = crashed.clone();
        let layer = FaultLayer::new(faults, Arc::new(move || flag.store(true, Ordering::SeqCst)));
        Self { crashed, ..Self::with_client(Client::new(layer.layer(server), "tenant")) }
    }

    /// Starts one with a client of its own.
    pub fn with_client(client: Client) -> Self {
        Self::with_flags(client, &[])
    }

    /// Starts one whose imports work on volumes.
    pub fn with_work_volumes(api: &Api) -> Self {
        let api = api.clone();
        let server = service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, BoxError>(api.answer(request).await) }
        });
        Self::with_flags(Client::new(server, "tenant"), &["--import-volume-size", "5Gi"])
    }

    fn with_flags(client: Client, flags: &[&str]) -> Self {
        let named = ["easel-operator", "--runtime-image", "runtime:1"];
        let config = Config::parse_from(named.iter().chain(flags));
        let settings = Settings::new(&config, Catalogue::load(None).unwrap());
        let resync = Duration::from_secs(300);
        let ctx = Arc::new(Ctx::new(client, settings, Metrics::default(), "test", resync));
        Self { ctx, crashed: Arc::new(AtomicBool::new(false)) }
    }

    pub fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::SeqCst)
    }

    /// Looks once at every object; errors are the reconcilers' business to report.
    pub async fn look(&self, api: &Api, now: Timestamp) -> Vec<String> {
        let mut reasons = Vec::new();
        for (_, object) in api.all(MODELS) {
            let trigger = Arc::new(serde_json::from_value(object).unwrap());
            let result = model::reconcile_at(trigger, self.ctx.clone(), now).await;
            reasons.extend(result.err().map(|error| error.reason().to_owned()));
        }
        for (_, object) in api.all(DATASETS) {
            let trigger = Arc::new(serde_json::from_value(object).unwrap());
            let result = dataset::reconcile_at(trigger, self.ctx.clone(), now).await;
            reasons.extend(result.err().map(|error| error.reason().to_owned()));
        }
        for (_, object) in api.all(TRAININGS) {
            let trigger = Arc::new(serde_json::from_value(object).unwrap());
            let result = training::reconcile_at(trigger, self.ctx.clone(), now).await;
            reasons.extend(result.err().map(|error| error.reason().to_owned()));
        }
        for (_, object) in api.all(ENDPOINTS) {
            let trigger = Arc::new(serde_json::from_value(object).unwrap());
            let result = endpoint::reconcile(trigger, self.ctx.clone()).await;
            reasons.extend(result.err().map(|error| error.reason().to_owned()));
        }
        reasons
    }

    /// Looks, and lets the cluster act, until neither changes anything or the process crashed.
    pub async fn settle(&self, api: &Api) {
        for _ in 0..MAX_ROUNDS {
            let before = api.version();
            let failed = !self.look(api, Timestamp::now()).await.is_empty();
            if self.has_crashed() {
                return;
            }
            world::step(api);
            if api.version() == before && !failed {
                return;
            }
        }
        panic!("no settled state after {MAX_ROUNDS} rounds");
    }
}

/// A process without faults, run until nothing changes.
pub async fn settle(api: &Api) -> Process {
    let process = Process::start(api, "");
    process.settle(api).await;
    process
}
