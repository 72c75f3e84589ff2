//! Whatever a caller sends, the answer is never a 5xx.

use axum::body::Body;
use axum::extract::Request;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::fixture::Fixture;
use crate::objects::KEY;

const ROUTES: [&str; 5] = [
    "/inference-api/inference",
    "/inference/query-inference-jobs",
    "/easel/v1/models/waiting/uploads",
    "/easel/v1/models/waiting/uploads/complete",
    "/prod//inference-api/inference/",
];

fn check(bodies: impl Strategy<Value = Vec<u8>>, cases: u32) {
    let runtime = Runtime::new().unwrap();
    let facade = runtime.block_on(Fixture::new());
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(cases) });
    let checked = runner.run(&(bodies, 0..ROUTES.len()), |(body, route)| {
        let request = Request::post(ROUTES[route]).header("x-api-key", KEY).body(Body::from(body)).unwrap();
        let answer = runtime.block_on(facade.public(request));
        prop_assert!(answer.status.as_u16() < 500, "{}: {}", answer.status, answer.body);
        prop_assert!(serde_json::from_str::<Value>(&answer.body).is_ok(), "{}", answer.body);
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn any_bytes_get_an_answer() {
    check(proptest::collection::vec(any::<u8>(), 0..300), 300);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_i64..100).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop_oneof!["Infinity", "NaN", "-1", "20", "true"].prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,6}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// A good request with one field of the real ones set to anything.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    const FIELDS: [&str; 26] = [
        "sagemaker_endpoint_name",
        "task_type",
        "models",
        "prompt",
        "negative_prompt",
        "seed",
        "sampler_name",
        "sampler_index",
        "batch_size",
        "n_iter",
        "steps",
        "cfg_scale",
        "width",
        "height",
        "eta",
        "override_settings",
        "enable_hr",
        "styles",
        "subseed_strength",
        "s_churn",
        "script_name",
        "alwayson_scripts",
        "limit",
        "start_time",
        "status",
        "files",
    ];
    (proptest::sample::select(&FIELDS[..]), value()).prop_map(|(field, value)| {
        let mut body = json!({
            "task_type": "txt2img", "prompt": "p", "sagemaker_endpoint_name": "demo", "width": 64, "height": 64,
            "models": {"Stable-diffusion": ["easel-demo.safetensors"]},
        });
        body[field] = value;
        body.to_string().into_bytes()
    })
}

#[test]
fn any_value_of_any_field_gets_an_answer() {
    check(mutated(), 400);
}

#[test]
fn any_path_gets_an_answer() {
    let runtime = Runtime::new().unwrap();
    let facade = runtime.block_on(Fixture::new());
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(300) });
    let checked = runner.run(&("(/[a-z%0-9.?=&/-]{0,30}){1,4}", any::<bool>()), |(path, post)| {
        let builder = if post { Request::post(&path) } else { Request::get(&path) };
        let Ok(request) = builder.header("x-api-key", KEY).body(Body::empty()) else { return Ok(()) };
        let answer = runtime.block_on(facade.public(request));
        prop_assert!(answer.status.as_u16() < 500, "{path}: {}", answer.status);
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}
