//! The worker protocol over real listeners, with a worker that lives in the test.

use std::time::Duration;

use easel_protocol::FailureReport;
use easel_protocol::worker::{
    CLAIM_PATH, ClaimRequest, ClaimedJob, Completion, Heartbeat, HeartbeatReply, JobFailure, MODELS_PATH,
    ModelSet, OutputDone, Progress, Refusal, Release, Timings, job_path,
};
use easel_store::jobs::{JobId, JobState};
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fixture::{Fixture, parse};
use crate::objects::{DEMO_MODEL, KEY, SHA};

const TOKEN: &str = "team/easel-endpoint-demo/pod-1";
const OTHER_POD: &str = "team/easel-endpoint-demo/pod-2";

/// A worker or a client with a plain HTTP client.
struct Caller<'a> {
    facade: &'a Fixture,
    http: reqwest::Client,
}

impl<'a> Caller<'a> {
    fn new(facade: &'a Fixture) -> Self {
        Self { facade, http: reqwest::Client::new() }
    }

    async fn submit(&self, pictures: u32) -> String {
        let body = json!({
            "task_type": "txt2img", "prompt": "a red circle", "sagemaker_endpoint_name": "demo", "seed": 5, "steps": 3,
            "models": {"Stable-diffusion": ["easel-demo.safetensors"]}, "width": 64, "height": 64, "n_iter": pictures,
        });
        let url = format!("{}/prod/inference-api/inference", self.facade.public);
        let answer = self.http.post(url).header("x-api-key", KEY).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json::<Value>().await.unwrap()["inference_id"].as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.facade.public);
        let answer = self.http.get(url).header("x-api-key", KEY).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    async fn call<T: Serialize>(&self, token: &str, path: &str, body: &T) -> reqwest::Response {
        let url = format!("{}{path}", self.facade.internal);
        self.http.post(url).bearer_auth(token).json(body).send().await.unwrap()
    }

    async fn expect<T: Serialize, R: DeserializeOwned>(&self, token: &str, path: &str, body: &T) -> R {
        let answer = self.call(token, path, body).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    async fn claim(&self, token: &str, wait_seconds: u64) -> Option<ClaimedJob> {
        let answer =
            self.call(token, CLAIM_PATH, &ClaimRequest { held: vec![SHA.into()], wait_seconds }).await;
        match answer.status() {
            StatusCode::NO_CONTENT => None,
            StatusCode::OK => Some(answer.json().await.unwrap()),
            other => panic!("{other}: {}", answer.text().await.unwrap()),
        }
    }

    /// Puts every output; the pictures' content is their name.
    async fn upload(&self, job: &ClaimedJob) -> Completion {
        let mut outputs = Vec::new();
        for slot in &job.outputs {
            let request = self.http.put(&slot.url).header("content-type", slot.format.content_type());
            let answer = request.body(slot.name.clone()).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
            outputs.push(OutputDone {
                name: slot.name.clone(),
                sha256: hex::encode(Sha256::digest(&slot.name)),
                size_bytes: slot.name.len() as u64,
            });
        }
        let infotexts = (0..job.request.pictures()).map(|i| format!("infotext {i}")).collect();
        Completion { attempt: job.attempt, outputs, infotexts, timings: Timings::default() }
    }

    async fn refusal<T: Serialize>(&self, token: &str, path: &str, body: &T) -> (u16, String) {
        let answer = self.call(token, path, body).await;
        let status = answer.status().as_u16();
        (status, answer.json::<Refusal>().await.unwrap().reason)
    }
}

#[tokio::test]
async fn a_job_goes_from_the_client_through_a_worker_and_back() {
    let facade = Fixture::listening().await;
    let caller = Caller::new(&facade);
    let id = caller.submit(2).await;
    let job = caller.claim(TOKEN, 5).await.expect("a job waits");
    assert_eq!(
        (job.id.as_str(), job.attempt, job.timeout_seconds, job.lease_seconds),
        (id.as_str(), 1, 60, 20)
    );
    assert_eq!((job.request.checkpoint.as_str(), job.checkpoint.sha256.as_str()), ("demo-model", SHA));
    let names: Vec<&str> = job.outputs.iter().map(|slot| slot.name.as_str()).collect();
    assert_eq!(names, ["image_0.png", "image_0.jpg", "image_1.png", "image_1.jpg"]);

    let beat = Heartbeat { attempt: 1, progress: Progress { stage: "Denoising".into(), done: 2, total: 3 } };
    let reply: HeartbeatReply = caller.expect(TOKEN, &job_path(&id, "heartbeat"), &beat).await;
    assert!(!reply.cancel && reply.lease_seconds == 20);
    let record = caller.get(&format!("/inference/get-inference-job?jobID={id}")).await;
    assert_eq!(record["progress"], json!({"stage": "Denoising", "done": 2, "total": 3}));
    assert_eq!(record["status"], "inprogress");

    let completion = caller.upload(&job).await;
    for _ in 0..2 {
        let answer = caller.call(TOKEN, &job_path(&id, "complete"), &completion).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "also when it is repeated");
    }
    let record = caller.get(&format!("/inference/get-inference-job?jobID={id}")).await;
    assert_eq!(record["status"], "succeed");
    assert_eq!(record["image_names"], json!(["image_0.jpg", "image_1.jpg"]));
    assert_eq!(record["inference_info_name"], format!("/tmp/{id}_param.json"));
    let complete_time: String =
        record["completeTime"].as_str().unwrap().replace(|c: char| c.is_ascii_digit(), "0");
    assert_eq!(complete_time, "0000-00-00-00-00-00");
    assert!(record.get("progress").is_none() && record.get("error").is_none(), "{record}");

    for (query, extension) in [("", "jpg"), ("&format=png", "png")] {
        let path = format!("/inference/get-inference-job-image-output?jobID={id}{query}");
        let urls = caller.get(&path).await;
        for (n, url) in urls.as_array().unwrap().iter().enumerate() {
            let answer = caller.http.get(url.as_str().unwrap()).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.text().await.unwrap(), format!("image_{n}.{extension}"));
        }
        assert_eq!(urls.as_array().unwrap().len(), 2);
    }
    check_document(&caller, &id).await;
    let metrics =
        caller.http.get(format!("{}/metrics", facade.internal)).send().await.unwrap().text().await.unwrap();
    let line = r#"easel_jobs_finished_total{endpoint="demo",namespace="team",result="succeeded"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    facade.end().await;
}

async fn check_document(caller: &Caller<'_>, id: &str) {
    let urls = caller.get(&format!("/inference/get-inference-job-param-output?jobID={id}")).await;
    let answer = caller.http.get(urls[0].as_str().unwrap()).send().await.unwrap();
    let document: Value = answer.json().await.unwrap();
    assert_eq!((&document["endpont_name"], &document["endpoint_name"]), (&json!("demo"), &json!("demo")));
    assert_eq!(document["inference_id"], id);
    assert_eq!(document["parameters"]["prompt"], "a red circle");
    let info: Value = serde_json::from_str(document["info"].as_str().unwrap()).unwrap();
    assert_eq!(info["infotexts"], json!(["infotext 0", "infotext 1"]));
    assert_eq!(info["all_seeds"], json!([5, 6]));
    assert_eq!(
        (&info["sampler_name"], &info["sd_model_name"]),
        (&json!("Euler a"), &json!("easel-demo.safetensors"))
    );
}

#[tokio::test]
async fn a_job_does_not_succeed_without_its_outputs() {
    let facade = Fixture::listening().await;
    let caller = Caller::new(&facade);
    let id = caller.submit(1).await;
    let job = caller.claim(TOKEN, 5).await.expect("a job waits");
    let whole = Completion {
        attempt: 1,
        outputs: job
            .outputs
            .iter()
            .map(|slot| OutputDone { name: slot.name.clone(), sha256: String::new(), size_bytes: 11 })
            .collect(),
        infotexts: vec!["text".into()],
        timings: Timings::default(),
    };
    let path = job_path(&id, "complete");
    let missing = (409, "MissingOutput".to_owned());
    assert_eq!(caller.refusal(TOKEN, &path, &whole).await, missing, "nothing is stored");
    let stored = caller.upload(&job).await;
    type Spoil = fn(&mut Completion);
    let cases: [(&str, Spoil); 4] = [
        ("another size", |done| done.outputs[0].size_bytes += 1),
        ("one is not declared", |done| drop(done.outputs.pop())),
        ("one too many", |done| {
            done.outputs.push(OutputDone { name: "x".into(), sha256: String::new(), size_bytes: 1 });
        }),
        ("no infotext", |done| done.infotexts.clear()),
    ];
    for (name, spoil) in cases {
        let mut done = stored.clone();
        spoil(&mut done);
        assert_eq!(caller.refusal(TOKEN, &path, &done).await, missing, "{name}");
    }
    let record = caller.get(&format!("/inference/get-inference-job?jobID={id}")).await;
    assert_eq!(record["status"], "inprogress");
    assert_eq!(caller.call(TOKEN, &path, &stored).await.status(), StatusCode::NO_CONTENT);
    facade.end().await;
}

#[tokio::test]
async fn only_the_holder_speaks_for_a_job() {
    let facade = Fixture::listening().await;
    let caller = Caller::new(&facade);
    let id = caller.submit(1).await;
    let job = caller.claim(TOKEN, 5).await.expect("a job waits");
    let beat = Heartbeat { attempt: 1, progress: Progress::default() };
    let path = job_path(&id, "heartbeat");
    let cases = [
        ("garbage", 401, "InvalidToken"),
        ("team/default/pod", 403, "WrongIdentity"),
        ("team/easel-import-demo/pod", 403, "WrongIdentity"),
        ("team/easel-endpoint-busy/pod-1", 403, "OtherEndpoint"),
        ("others/easel-endpoint-demo/pod-1", 403, "OtherEndpoint"),
        (OTHER_POD, 409, "Stale"),
    ];
    for (token, status, reason) in cases {
        assert_eq!(caller.refusal(token, &path, &beat).await, (status, reason.to_owned()), "{token}");
    }
    let answer = caller.http.post(format!("{}{path}", facade.internal)).json(&beat).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);

    // The first worker gives it back, another one takes it: the first one's word counts no more.
    let release = job_path(&id, "release");
    let released = caller.call(TOKEN, &release, &Release { attempt: 1 }).await;
    assert_eq!(released.status(), StatusCode::NO_CONTENT);
    let again = caller.claim(OTHER_POD, 5).await.expect("it waits again");
    assert_eq!((again.id.as_str(), again.attempt), (id.as_str(), 2));
    let stale = caller.upload(&job).await;
    assert_eq!(caller.refusal(TOKEN, &job_path(&id, "complete"), &stale).await, (409, "Stale".to_owned()));
    let fresh = caller.upload(&again).await;
    let done = caller.call(OTHER_POD, &job_path(&id, "complete"), &fresh).await;
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    assert_eq!(caller.refusal(TOKEN, &job_path(&id, "complete"), &stale).await.0, 409);
    facade.end().await;
}

#[tokio::test]
async fn a_permanent_failure_reaches_the_client_and_a_passing_one_does_not() {
    let facade = Fixture::listening().await;
    let caller = Caller::new(&facade);
    let id = caller.submit(1).await;
    caller.claim(TOKEN, 5).await.expect("a job waits");
    let fail = |attempt, retriable| JobFailure {
        attempt,
        failure: FailureReport::new("OutOfMemory", "512x512 needs 3 GB, 2 GB are free", retriable),
    };
    let path = job_path(&id, "fail");
    assert_eq!(caller.call(TOKEN, &path, &fail(1, true)).await.status(), StatusCode::NO_CONTENT);
    let record = caller.get(&format!("/inference/get-inference-job?jobID={id}")).await;
    assert_eq!((&record["status"], record.get("error")), (&json!("inprogress"), None));
    let second = caller.claim(OTHER_POD, 30).await.expect("tried again after a pause");
    assert_eq!(second.attempt, 2);
    assert_eq!(caller.call(OTHER_POD, &path, &fail(2, false)).await.status(), StatusCode::NO_CONTENT);
    let record = caller.get(&format!("/inference/get-inference-job?jobID={id}")).await;
    assert_eq!(
        (&record["status"], &record["error"]),
        (&json!("failed"), &json!("OutOfMemory: 512x512 needs 3 GB, 2 GB are free"),)
    );
    let raw: FailureReport = serde_json::from_str(record["sagemakerRaw"].as_str().unwrap()).unwrap();
    assert_eq!((raw.reason.as_str(), raw.retriable), ("OutOfMemory", false));
    assert!(record.get("completeTime").is_none());
    facade.end().await;
}

#[tokio::test]
async fn a_job_whose_model_has_changed_fails_with_the_reason() {
    let facade = Fixture::listening().await;
    let caller = Caller::new(&facade);
    let id = caller.submit(1).await;
    facade.apply_model(&DEMO_MODEL.replace(SHA, &"c".repeat(64)));
    assert!(caller.claim(TOKEN, 0).await.is_none());
    let job = facade.app.jobs.find(id.parse::<JobId>().unwrap()).await.unwrap().expect("the job");
    let failure = job.failure.expect("a report");
    assert_eq!(
        (job.state, failure.reason.as_str(), failure.retriable),
        (JobState::Failed, "ModelChanged", false)
    );
    facade.end().await;
}

#[tokio::test]
async fn a_waiting_claim_is_woken_by_a_job_and_by_the_end() {
    let facade = Fixture::listening().await;
    let caller = Caller::new(&facade);
    assert!(caller.claim(TOKEN, 0).await.is_none());
    let (claimed, id) = tokio::join!(caller.claim(TOKEN, 20), caller.submit(1));
    assert_eq!(claimed.expect("woken").id, id);
    let waiting = caller.claim(TOKEN, 30);
    let ending = async {
        // The call is on its way once it is counted.
        let busy = || facade.app.metrics.render().contains("easel_http_requests_in_flight 1");
        while !busy() {
            tokio::task::yield_now().await;
        }
        facade.app.shutdown.cancel();
    };
    let both = async { tokio::join!(waiting, ending).0 };
    let claimed = tokio::time::timeout(Duration::from_secs(10), both).await.expect("long before the 30 s");
    assert!(claimed.is_none());
    facade.end().await;
}

async fn model_set(facade: &Fixture, http: &reqwest::Client, known: &str) -> ModelSet {
    let url = format!("{}{MODELS_PATH}?known={known}", facade.internal);
    let answer = http.get(url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_worker_learns_of_a_model_as_soon_as_it_is_ready() {
    let facade = Fixture::listening().await;
    let http = reqwest::Client::new();
    let set = model_set(&facade, &http, "").await;
    let [file] = set.models.as_slice() else { panic!("{set:?}") };
    assert_eq!(
        (file.model.as_str(), file.file_name.as_str(), file.size_bytes),
        ("demo-model", "weights.safetensors", 4)
    );
    assert_eq!(
        set.pending.iter().map(|p| (p.model.as_str(), p.reason.as_str())).collect::<Vec<_>>(),
        [("waiting", "WaitingForUpload")]
    );
    // The URL is for the address inside the cluster and works.
    let key = file.url.split('?').next().unwrap().rsplit_once("/easel/").unwrap().1.parse().unwrap();
    facade.app.objects.put(&key, bytes::Bytes::from_static(b"data"), "x/y").await.unwrap();
    assert_eq!(http.get(&file.url).send().await.unwrap().text().await.unwrap(), "data");

    let ready = DEMO_MODEL.replace("name: demo-model", "name: waiting").replace(SHA, &"d".repeat(64));
    let _: easel_crds::Model = parse(&ready);
    let (next, ()) =
        tokio::join!(model_set(&facade, &http, &set.version), async { facade.apply_model(&ready) });
    assert_ne!(next.version, set.version);
    assert_eq!((next.models.len(), next.pending.len()), (2, 0));
    facade.end().await;
}
