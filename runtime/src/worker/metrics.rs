//! Prometheus metrics of a worker.

use std::time::Duration;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

/// From a step of a tiny model to a stage of minutes.
const BUCKETS: &[f64] = &[0.005, 0.02, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0];

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    jobs: IntCounterVec,
    steps: HistogramVec,
    stages: HistogramVec,
    downloads: IntCounterVec,
    heartbeat_errors: IntCounter,
    models_loaded: IntGauge,
    model_bytes: IntGauge,
    cache_bytes: IntGauge,
}

impl Metrics {
    /// # Panics
    /// Never: the names below are distinct and well-formed.
    pub fn new() -> Self {
        let counter = |name, help| IntCounterVec::new(Opts::new(name, help), &["outcome"]);
        let histogram = |name, help| {
            let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
            HistogramVec::new(options, &["stage"])
        };
        let good = "the name is a literal of this file and well-formed";
        let metrics = Self {
            registry: Registry::new(),
            jobs: counter("easel_runtime_jobs_total", "Jobs by how they ended.").expect(good),
            steps: histogram("easel_runtime_step_seconds", "Duration of one step of the engine.")
                .expect(good),
            stages: histogram("easel_runtime_stage_seconds", "Duration of a stage of a job.").expect(good),
            downloads: counter("easel_runtime_downloads_total", "Weight files transferred.").expect(good),
            heartbeat_errors: IntCounter::new(
                "easel_runtime_heartbeat_errors_total",
                "Heartbeats that the facade did not answer.",
            )
            .expect(good),
            models_loaded: IntGauge::new("easel_runtime_models_loaded", "Models in memory.").expect(good),
            model_bytes: IntGauge::new("easel_runtime_model_memory_bytes", "Weights in memory.").expect(good),
            cache_bytes: IntGauge::new("easel_runtime_cache_bytes", "Weight files on disk.").expect(good),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let collectors: [Box<dyn prometheus::core::Collector>; 8] = [
            Box::new(self.jobs.clone()),
            Box::new(self.steps.clone()),
            Box::new(self.stages.clone()),
            Box::new(self.downloads.clone()),
            Box::new(self.heartbeat_errors.clone()),
            Box::new(self.models_loaded.clone()),
            Box::new(self.model_bytes.clone()),
            Box::new(self.cache_bytes.clone()),
        ];
        for collector in collectors {
            self.registry.register(collector).expect("each is registered once, in a registry of its own");
        }
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            self.registry.register(Box::new(process)).expect("its names begin with process_");
        }
    }

    /// The text format.
    ///
    /// # Errors
    /// A metric cannot be encoded.
    pub fn encode(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    pub(super) fn job(&self, outcome: &str) {
        self.jobs.with_label_values(&[outcome]).inc();
    }

    pub(super) fn step(&self, stage: &str, took: Duration) {
        self.steps.with_label_values(&[stage]).observe(took.as_secs_f64());
    }

    pub(crate) fn stage(&self, stage: &str, took: Duration) {
        self.stages.with_label_values(&[stage]).observe(took.as_secs_f64());
    }

    pub(crate) fn download(&self, good: bool) {
        self.downloads.with_label_values(&[if good { "succeeded" } else { "failed" }]).inc();
    }

    pub(super) fn heartbeat_error(&self) {
        self.heartbeat_errors.inc();
    }

    pub(crate) fn models_loaded(&self, count: usize, bytes: u64) {
        self.models_loaded.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.model_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn cache_bytes(&self, bytes: u64) {
        self.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
