//! The process' Prometheus metrics: calls by route, the queue, workers' answers, process figures.

use std::time::Duration;

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Upper bounds in seconds; the long ones are the workers' long polls.
const BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

/// Every metric of the facade.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    latency: HistogramVec,
    in_flight: IntGauge,
    jobs: IntGaugeVec,
    oldest: IntGaugeVec,
    finished: IntCounterVec,
    expired: IntCounterVec,
    watch_errors: IntCounterVec,
    sweeps: IntCounterVec,
    orphans: IntGaugeVec,
    orphan_bytes: IntGaugeVec,
    collected: IntCounterVec,
    collected_bytes: IntCounterVec,
}

/// One endpoint's queue, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFigures {
    pub namespace: String,
    pub endpoint: String,
    pub pending: u64,
    pub running: u64,
    pub oldest_seconds: u64,
}

impl Metrics {
    /// # Panics
    /// Never: every name is valid and registered once.
    pub fn new() -> Self {
        let registry = Registry::new();
        let metrics = Self {
            requests: counters(
                "easel_http_requests_total",
                "Calls answered.",
                &["listener", "method", "route", "status"],
            ),
            latency: HistogramVec::new(
                HistogramOpts::new("easel_http_request_seconds", "Time to the answer's head.")
                    .buckets(BUCKETS.to_vec()),
                &["listener", "method", "route"],
            )
            .expect("valid metric"),
            in_flight: IntGauge::new("easel_http_requests_in_flight", "Calls in progress.")
                .expect("valid metric"),
            jobs: gauges("easel_jobs", "Jobs that are not finished.", &["namespace", "endpoint", "state"]),
            oldest: gauges(
                "easel_queue_oldest_seconds",
                "Age of the oldest job that no worker has claimed.",
                &["namespace", "endpoint"],
            ),
            finished: counters(
                "easel_jobs_finished_total",
                "Jobs that ended.",
                &["namespace", "endpoint", "result"],
            ),
            expired: counters(
                "easel_leases_expired_total",
                "Leases that ran out, by what became of the job.",
                &["outcome"],
            ),
            watch_errors: counters(
                "easel_watch_errors_total",
                "Errors of the watches on the API server.",
                &["kind"],
            ),
            sweeps: counters(
                "easel_gc_sweeps_total",
                "Looks for objects that no Model needs, by outcome.",
                &["outcome"],
            ),
            orphans: gauges("easel_gc_orphans", "Objects that the last look found and left.", &["kind"]),
            orphan_bytes: gauges("easel_gc_orphan_bytes", "Their bytes.", &["kind"]),
            collected: counters("easel_gc_deleted_total", "Objects deleted.", &["kind"]),
            collected_bytes: counters("easel_gc_deleted_bytes_total", "Bytes deleted.", &["kind"]),
            registry,
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let collectors: [Box<dyn prometheus::core::Collector>; 13] = [
            Box::new(self.requests.clone()),
            Box::new(self.latency.clone()),
            Box::new(self.in_flight.clone()),
            Box::new(self.jobs.clone()),
            Box::new(self.oldest.clone()),
            Box::new(self.finished.clone()),
            Box::new(self.expired.clone()),
            Box::new(self.watch_errors.clone()),
            Box::new(self.sweeps.clone()),
            Box::new(self.orphans.clone()),
            Box::new(self.orphan_bytes.clone()),
            Box::new(self.collected.clone()),
            Box::new(self.collected_bytes.clone()),
        ];
        for collector in collectors {
            self.registry.register(collector).expect("each metric is registered once");
        }
        #[cfg(target_os = "linux")]
        self.registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("registered once");
    }

    /// A call has begun; the guard counts it until it is dropped.
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// A call was answered.
    pub fn answered(&self, listener: &str, method: &str, route: &str, status: u16, took: Duration) {
        self.requests.with_label_values(&[listener, method, route, &status.to_string()]).inc();
        self.latency.with_label_values(&[listener, method, route]).observe(took.as_secs_f64());
    }

    /// A job ended.
    pub fn finished(&self, namespace: &str, endpoint: &str, result: &str) {
        self.finished.with_label_values(&[namespace, endpoint, result]).inc();
    }

    /// Leases ran out.
    pub fn expired(&self, outcome: &str, count: u64) {
        self.expired.with_label_values(&[outcome]).inc_by(count);
    }

    /// A watch of one kind of object met an error.
    pub fn watch_error(&self, kind: &str) {
        self.watch_errors.with_label_values(&[kind]).inc();
    }

    /// A look for garbage ended: `done`, or the reason why it did not.
    pub fn swept(&self, outcome: &str) {
        self.sweeps.with_label_values(&[outcome]).inc();
    }

    /// What a look that is done found of one kind of object and left there.
    pub fn set_orphans(&self, kind: &str, objects: u64, bytes: u64) {
        self.orphans.with_label_values(&[kind]).set(gauge_value(objects));
        self.orphan_bytes.with_label_values(&[kind]).set(gauge_value(bytes));
    }

    /// An object was deleted because nothing needs it.
    pub fn collected(&self, kind: &str, bytes: u64) {
        self.collected.with_label_values(&[kind]).inc();
        self.collected_bytes.with_label_values(&[kind]).inc_by(bytes);
    }

    /// Replaces the queue figures: an endpoint that is not named any more disappears.
    pub fn set_queues(&self, queues: &[QueueFigures]) {
        self.jobs.reset();
        self.oldest.reset();
        for queue in queues {
            let labels = [queue.namespace.as_str(), queue.endpoint.as_str()];
            self.jobs.with_label_values(&[labels[0], labels[1], "pending"]).set(gauge_value(queue.pending));
            self.jobs.with_label_values(&[labels[0], labels[1], "running"]).set(gauge_value(queue.running));
            self.oldest.with_label_values(&labels).set(gauge_value(queue.oldest_seconds));
        }
    }

    /// The exposition text.
    pub fn render(&self) -> String {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out).expect("writing to memory cannot fail");
        String::from_utf8_lossy(&out).into_owned()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts a call in progress while it lives.
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("valid metric")
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help), labels).expect("valid metric")
}

fn gauge_value(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_gone_is_not_reported() {
        let metrics = Metrics::new();
        let figures = |endpoint: &str| QueueFigures {
            namespace: "team".into(),
            endpoint: endpoint.into(),
            pending: 3,
            running: 1,
            oldest_seconds: 9,
        };
        metrics.set_queues(&[figures("old")]);
        metrics.set_queues(&[figures("new")]);
        let text = metrics.render();
        assert!(text.contains(r#"easel_jobs{endpoint="new",namespace="team",state="pending"} 3"#), "{text}");
        assert!(!text.contains(r#"endpoint="old""#), "{text}");
    }

    #[test]
    fn calls_are_counted_by_route_and_status() {
        let metrics = Metrics::new();
        let guard = metrics.begin();
        assert!(metrics.render().contains("easel_http_requests_in_flight 1"));
        drop(guard);
        metrics.answered("public", "GET", "/inference", 200, Duration::from_millis(2));
        let text = metrics.render();
        assert!(text.contains("easel_http_requests_in_flight 0"), "{text}");
        let line =
            r#"easel_http_requests_total{listener="public",method="GET",route="/inference",status="200"} 1"#;
        assert!(text.contains(line), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
