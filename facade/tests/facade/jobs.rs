//! Look-ups and lists of jobs, and the endpoints as deployment records.

use http::StatusCode;
use serde_json::{Value, json};

use crate::fixture::{Fixture, get, post};
use crate::objects::{BOUND_KEY, KEY, OTHER_KEY};

const RUN: &str = "/inference-api/inference";

async fn submit(facade: &Fixture, endpoint: &str, prompt: &str) -> String {
    let body = json!({
        "task_type": "txt2img", "prompt": prompt, "sagemaker_endpoint_name": endpoint,
        "models": {"Stable-diffusion": ["easel-demo.safetensors"]}, "seed": 1, "width": 64, "height": 64,
    });
    let answer = facade.post(RUN, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.json()["inference_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_job_that_is_not_the_callers_is_not_there() {
    let facade = Fixture::new().await;
    let id = submit(&facade, "demo", "a").await;
    let unknown = "00000000-0000-4000-8000-000000000000";
    for (key, id) in [(KEY, unknown), (KEY, "nonsense"), (OTHER_KEY, id.as_str()), (BOUND_KEY, id.as_str())] {
        let answer = facade.public(get(&format!("/inference/get-inference-job?jobID={id}"), key)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        let text = format!("There is no inference job info item for id: {id}");
        assert_eq!(answer.json(), json!({"statusCode": 404, "error": text, "detail": text}), "{key}");
        for route in ["image", "param"] {
            let path = format!("/inference/get-inference-job-{route}-output?jobID={id}");
            let answer = facade.public(get(&path, key)).await;
            assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "[]"), "{route} {key}");
        }
    }
    for path in ["/inference/get-inference-job", "/inference/get-inference-job?jobID="] {
        let answer = facade.get(path).await;
        let text = "Inference job id must not be None or empty";
        assert_eq!(
            (answer.status, answer.json()),
            (StatusCode::BAD_REQUEST, json!({"statusCode": 400, "error": text, "detail": text}),)
        );
    }
    let answer = facade.get("/inference/get-inference-job?jobID=a&jobID=b").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.json()["error"].as_str().unwrap().contains("jobID"), "{}", answer.body);
    let path = format!("/inference/get-inference-job-image-output?jobID={id}&format=bmp");
    assert_eq!(facade.get(&path).await.json()["error"], "format: jpg or png is allowed");
}

#[tokio::test]
async fn a_waiting_job_has_the_record_of_the_service() {
    let facade = Fixture::new().await;
    let id = submit(&facade, "demo", "a").await;
    let answer = facade.get(&format!("/prod/inference/get-inference-job?jobID={id}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    let mut record = answer.json();
    let start = record["startTime"].take();
    let pattern: Vec<char> =
        start.as_str().unwrap().chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(pattern.iter().collect::<String>(), "0000-00-00 00:00:00.000000");
    let want = json!({
        "InferenceJobId": id, "startTime": null, "taskType": "txt2img", "status": "inprogress", "sagemakerRaw": "",
        "params": {
            "input_body_s3": format!("s3://easel/out/{id}/result/{id}_param.json"), "input_body_presign_url": "",
            "used_models": {"Stable-diffusion": [{
                "id": "model-uid", "model_name": "easel-demo.safetensors", "type": "Stable-diffusion",
                "s3": "s3://easel/models/team/demo-model/upload"}]},
            "sagemaker_inference_endpoint_id": "demo-uid", "sagemaker_inference_endpoint_name": "demo",
            "output_path": format!("s3://easel/out/{id}/result"),
        },
    });
    assert_eq!(record, want);
    let answer = facade.get(&format!("/inference/get-inference-job-image-output?jobID={id}")).await;
    assert_eq!(answer.body, "[]", "nothing before it has succeeded");
    let answer = facade.get(&format!("/inference/get-inference-job-param-output?jobID={id}")).await;
    let urls = answer.json();
    let url = urls[0].as_str().unwrap();
    let path = format!("http://facade.test/easel/out/{id}/result/{id}_param.json?");
    assert!(url.starts_with(&path) && url.contains("X-Amz-Signature="), "{url}");
    assert!(!url.split_once('?').unwrap().1.contains('/'), "clients cut at the last slash: {url}");
}

async fn ids(facade: &Fixture, key: &str, query: &Value) -> Vec<String> {
    let answer = facade.public(post("/inference/query-inference-jobs", key, query.to_string())).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let records = answer.json();
    records
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["InferenceJobId"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn lists_are_newest_first_and_narrowed_by_every_field() {
    let facade = Fixture::new().await;
    let first = submit(&facade, "demo", "1").await;
    let second = submit(&facade, "busy", "2").await;
    let third = submit(&facade, "demo", "3").await;
    let all = [third.clone(), second.clone(), first.clone()];
    let (today, tomorrow) = (day(0), day(1));
    let none: &[String] = &[];
    let cases = [
        (json!({}), &all[..]),
        (json!({"limit": -1, "status": "", "endpoint": null}), &all[..]),
        (json!({"limit": 2}), &all[..2]),
        (json!({"limit": 0}), none),
        (json!({"status": "inprogress", "task_type": "txt2img"}), &all[..]),
        (json!({"status": "succeed"}), none),
        (json!({"status": "created"}), none),
        (json!({"task_type": "img2img"}), none),
        (json!({"endpoint": "busy"}), &all[1..2]),
        (json!({"checkpoint": "easel-demo.safetensors", "limit": "1"}), &all[..1]),
        (json!({"checkpoint": "another"}), none),
        (json!({"start_time": today, "end_time": tomorrow}), &all[..]),
        (json!({"start_time": tomorrow}), none),
        (json!({"end_time": today}), none),
    ];
    for (query, want) in cases {
        assert_eq!(ids(&facade, KEY, &query).await, want, "{query}");
    }
    assert_eq!(ids(&facade, BOUND_KEY, &json!({})).await, [second]);
    assert_eq!(ids(&facade, BOUND_KEY, &json!({"endpoint": "demo"})).await, none);
    assert_eq!(ids(&facade, OTHER_KEY, &json!({})).await, none);
    let answer = facade.post("/inference/query-inference-jobs", &json!({"start_time": "yesterday"})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let answer = facade.get("/inference/list-inference-jobs").await;
    let listed: Vec<Value> =
        answer.json().as_array().unwrap().iter().map(|r| r["InferenceJobId"].clone()).collect();
    assert_eq!(listed, all);
}

fn day(later: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * later);
    at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d").to_string()
}

#[tokio::test]
async fn endpoints_are_deployment_records() {
    let facade = Fixture::new().await;
    let answer = facade.get("/inference/list-endpoint-deployment-jobs").await;
    assert_eq!(answer.status, StatusCode::OK);
    let want = json!([
        {"EndpointDeploymentJobId": "broken-uid", "startTime": "2026-01-04 00:00:00.000000",
         "endTime": "2026-01-04 00:00:02.000000", "endpoint_name": "broken", "endpoint_status": "Failed",
         "status": "failed", "max_instance_number": "1", "autoscaling": false,
         "error": "ModelLoadFailed: header length lies"},
        {"EndpointDeploymentJobId": "starting-uid", "startTime": "2026-01-03 00:00:00.000000",
         "endpoint_name": "starting", "endpoint_status": "Creating", "status": "inprogress",
         "max_instance_number": "1", "autoscaling": false, "error": "Unschedulable: 0/1 nodes are available"},
        {"EndpointDeploymentJobId": "busy-uid", "startTime": "2026-01-02 00:00:00.000000",
         "endTime": "2026-01-02 00:00:09.000000", "endpoint_name": "busy", "endpoint_status": "InService",
         "status": "success", "max_instance_number": "1", "autoscaling": false},
        {"EndpointDeploymentJobId": "demo-uid", "startTime": "2026-01-01 08:00:47.000000",
         "endTime": "2026-01-01 08:12:55.000000", "endpoint_name": "demo", "endpoint_status": "InService",
         "status": "success", "max_instance_number": "1", "autoscaling": false},
    ]);
    assert_eq!(answer.json(), want);
    let path = "/inference/get-endpoint-deployment-job?jobID=";
    assert_eq!(facade.get(&format!("{path}demo-uid")).await.json(), want[3]);
    assert_eq!(facade.get(&format!("{path}foreign-uid")).await.body, "{}");
    let answer = facade.get("/inference/get-endpoint-deployment-job").await;
    assert_eq!(
        (answer.status, answer.json()),
        (StatusCode::BAD_REQUEST, json!({"statusCode": 400, "error": "jobID must not be empty"}),)
    );
    let answer = facade.public(get("/inference/list-endpoint-deployment-jobs", BOUND_KEY)).await;
    assert_eq!(answer.json(), json!([want[2]]));
}
