//! Prometheus metrics. Names are API.

use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

/// Seconds; a reconcile is a handful of API calls.
const BUCKETS: [f64; 10] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// All metrics of the operator.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// `easel_operator_reconciles_total{kind, outcome}`; outcome is `ok` or `error`.
    pub reconciles: IntCounterVec,
    /// `easel_operator_reconcile_seconds{kind}`
    pub reconcile_seconds: HistogramVec,
    /// `easel_operator_reconcile_errors_total{kind, reason, retriable}`
    pub reconcile_errors: IntCounterVec,
    /// `easel_operator_failures_total{kind, reason}`: failures of pods and imports as they reach a status.
    pub failures: IntCounterVec,
    /// `easel_operator_api_requests_total{method, resource, subresource, code}`
    pub api_requests: IntCounterVec,
    /// `easel_operator_api_writes_total{method, resource, subresource, code}`; leases included.
    pub api_writes: IntCounterVec,
    /// `easel_operator_leader`: 1 while this process holds the lease.
    pub leader: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new().expect("names and labels are valid and told apart")
    }
}

impl Metrics {
    fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(format!("easel_operator_{name}"), help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let request_labels = ["method", "resource", "subresource", "code"];
        let seconds = HistogramVec::new(
            HistogramOpts::new("easel_operator_reconcile_seconds", "Duration of reconciles.")
                .buckets(BUCKETS.to_vec()),
            &["kind"],
        )?;
        registry.register(Box::new(seconds.clone()))?;
        let leader = IntGauge::new("easel_operator_leader", "1 while this process holds the lease.")?;
        registry.register(Box::new(leader.clone()))?;
        let process = ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        Ok(Self {
            reconciles: counter("reconciles_total", "Reconciles that ended.", &["kind", "outcome"])?,
            reconcile_errors: counter(
                "reconcile_errors_total",
                "Reconciles that failed.",
                &["kind", "reason", "retriable"],
            )?,
            failures: counter("failures_total", "Failures of pods and imports.", &["kind", "reason"])?,
            api_requests: counter("api_requests_total", "Requests to the API server.", &request_labels)?,
            api_writes: counter("api_writes_total", "Writes to the API server.", &request_labels)?,
            reconcile_seconds: seconds,
            leader,
            registry,
        })
    }

    /// Counts a reconcile; `error` is its reason and whether it may be retried.
    pub fn observe(&self, kind: &str, took: Duration, error: Option<(&str, bool)>) {
        let outcome = if error.is_some() { "error" } else { "ok" };
        self.reconciles.with_label_values(&[kind, outcome]).inc();
        self.reconcile_seconds.with_label_values(&[kind]).observe(took.as_secs_f64());
        if let Some((reason, retriable)) = error {
            let retriable = if retriable { "true" } else { "false" };
            self.reconcile_errors.with_label_values(&[kind, reason, retriable]).inc();
        }
    }

    /// The text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("# cannot encode the metrics: {error}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_exposed() {
        let metrics = Metrics::default();
        metrics.observe("Endpoint", Duration::from_millis(3), None);
        metrics.observe("Endpoint", Duration::from_millis(3), Some(("ApplyFailed", true)));
        let text = metrics.render();
        for line in [
            "easel_operator_reconciles_total{kind=\"Endpoint\",outcome=\"error\"} 1",
            "easel_operator_reconcile_errors_total{kind=\"Endpoint\",reason=\"ApplyFailed\",retriable=\"true\"} 1",
            "easel_operator_reconcile_seconds_bucket{kind=\"Endpoint\",le=\"0.005\"} 2",
            "easel_operator_leader 0",
            "process_resident_memory_bytes",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
