//! Jobs to test with.

use easel_protocol::worker::{OutputDone, Timings};
use easel_protocol::{GenerationRequest, Sampler, Schedule, Task};
use easel_store::jobs::{Attempt, CompletionRecord, Holder, Job, JobId, NewJob, Sha256};
use jiff::{SignedDuration, Timestamp};

/// A moment: so many seconds after some day in 2026.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000).unwrap() + SignedDuration::from_secs(seconds)
}

pub fn request(prompt: &str) -> GenerationRequest {
    GenerationRequest {
        task: Task::TextToImage,
        prompt: prompt.to_owned(),
        negative_prompt: String::new(),
        checkpoint: "demo".to_owned(),
        width: 64,
        height: 64,
        steps: 4,
        guidance_scale: 7.5,
        sampler: Sampler::Euler,
        schedule: Schedule::Automatic,
        seed: u64::MAX,
        batch_size: 1,
        batch_count: 1,
        clip_skip: 1,
        eta: None,
        networks: Vec::new(),
    }
}

/// The hash of the model with that number.
pub fn model(number: u32) -> Sha256 {
    format!("{number:064x}").parse().unwrap()
}

/// A job of the endpoint `demo` in the namespace `studio`.
pub fn job(prompt: &str) -> NewJob {
    NewJob {
        id: JobId::new(),
        namespace: "studio".to_owned(),
        endpoint: "demo".to_owned(),
        dialect: "aws".to_owned(),
        request: request(prompt),
        checkpoint: model(1),
        dialect_params: serde_json::json!({ "user_id": "u", "n": [1, null] }),
        idempotency_key: None,
        max_tries: 3,
        timeout_seconds: 600,
    }
}

pub fn holder<'a>(job: &Job, worker: &'a str) -> Holder<'a> {
    Holder { id: job.id, attempt: job.attempt, worker }
}

pub fn with_attempt<'a>(holder: Holder<'a>, attempt: u32) -> Holder<'a> {
    Holder { attempt: Attempt(attempt), ..holder }
}

pub fn record() -> CompletionRecord {
    CompletionRecord {
        outputs: vec![OutputDone { name: "image_0.png".into(), sha256: "ab".repeat(32), size_bytes: 7 }],
        infotexts: vec!["a red circle\nSteps: 4".into()],
        timings: Timings { load_ms: 1, generate_ms: 2, upload_ms: 3 },
    }
}
