//! Every crash point and every fault leads to the same end as a run without.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::Api;
use crate::fixture::{
    DATASETS, ENDPOINTS, EVENTS, MODELS, TRAININGS, at, endpoint, model_and_endpoint,
    model_dataset_and_training, ready, stored_model,
};
use crate::process::{Process, settle};
use crate::trainer;

/// A state to start from, and a change that the operator has to follow.
struct Scenario {
    name: &'static str,
    /// Runs to a settled state before the change.
    before: Option<fn(&Api)>,
    change: fn(&Api),
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "create", before: None, change: model_and_endpoint },
    Scenario {
        name: "update the pods and their number",
        before: Some(model_and_endpoint),
        change: |api| {
            api.change(&at(ENDPOINTS, "demo"), |endpoint| {
                endpoint["spec"]["replicas"] = json!(2);
                endpoint["spec"]["precision"] = json!("F16");
            });
        },
    },
    Scenario {
        name: "suspend",
        before: Some(model_and_endpoint),
        change: |api| {
            api.change(&at(ENDPOINTS, "demo"), |endpoint| endpoint["spec"]["suspend"] = json!(true));
        },
    },
    Scenario {
        name: "change a Model's source",
        before: Some(model_and_endpoint),
        change: |api| {
            api.change(&at(MODELS, "m"), |model| {
                model["spec"]["source"]["objectStore"]["key"] = json!("other.safetensors");
            });
        },
    },
    Scenario {
        name: "delete the Endpoint and make it again",
        before: Some(model_and_endpoint),
        change: |api| {
            api.remove(&at(ENDPOINTS, "demo"));
            api.put(ENDPOINTS, endpoint("demo", &["m"]));
        },
    },
    Scenario {
        name: "list another Model",
        before: Some(|api| {
            model_and_endpoint(api);
            api.put(MODELS, stored_model("n"));
        }),
        change: |api| {
            api.change(&at(ENDPOINTS, "demo"), |endpoint| {
                endpoint["spec"]["models"] = json!([{"name": "n"}])
            });
        },
    },
    Scenario { name: "train", before: None, change: model_dataset_and_training },
    Scenario {
        name: "suspend a training",
        before: Some(endless_training),
        change: |api| api.change(&at(TRAININGS, "t"), |training| training["spec"]["suspend"] = json!(true)),
    },
    Scenario {
        name: "give a queue to a training that is held",
        before: Some(|api| {
            endless_training(api);
            api.change(&at(TRAININGS, "t"), |training| training["spec"]["suspend"] = json!(true));
        }),
        change: |api| {
            api.change(&at(TRAININGS, "t"), |training| {
                training["spec"]["suspend"] = json!(false);
                training["spec"]["queueName"] = json!("gpus");
            });
        },
    },
    Scenario {
        name: "change a training that failed",
        before: Some(|api| {
            model_dataset_and_training(api);
            order(api, trainer::FAILS);
        }),
        change: |api| order(api, 1),
    },
    Scenario {
        name: "change the pictures",
        before: Some(model_dataset_and_training),
        change: |api| {
            api.change(&at(DATASETS, "d"), |dataset| dataset["spec"]["items"] = json!([{"name": "c.png"}]));
        },
    },
];

fn endless_training(api: &Api) {
    model_dataset_and_training(api);
    order(api, trainer::ENDLESS);
}

/// What the trainer is to do.
fn order(api: &Api, steps: u64) {
    api.change(&at(TRAININGS, "t"), |training| training["spec"]["hyperparameters"]["steps"] = json!(steps));
}

impl Scenario {
    /// Runs with faults from the change on; processes follow one another until all is settled.
    async fn run(&self, faults: &str) -> (Api, bool) {
        let api = Api::default();
        if let Some(before) = self.before {
            before(&api);
            settle(&api).await;
        }
        (self.change)(&api);
        api.take_writes();
        let process = Process::start(&api, faults);
        process.settle(&api).await;
        if process.has_crashed() {
            settle(&api).await;
        }
        (api, process.has_crashed())
    }
}

/// Everything that is stored, by path, without what differs between any two runs: versions, UIDs, times,
/// events. With `failures` also without the record of what went wrong on the way.
fn snapshot(api: &Api, failures: bool) -> BTreeMap<String, Value> {
    let all = api.all("").into_iter().filter(|(path, _)| !path.starts_with(EVENTS));
    let objects: Vec<(String, Value)> = all.collect();
    let uids: Vec<(String, String)> = objects
        .iter()
        .filter_map(|(path, object)| Some((object["metadata"]["uid"].as_str()?.to_owned(), path.clone())))
        .collect();
    let clean = |(path, mut object): (String, Value)| {
        scrub(&mut object, &uids);
        if let Some(status) = object["status"].as_object_mut().filter(|_| !failures) {
            status.remove("lastFailure");
        }
        (path, object)
    };
    objects.into_iter().map(clean).collect()
}

fn scrub(value: &mut Value, uids: &[(String, String)]) {
    const DIFFERS: [&str; 8] = [
        "resourceVersion",
        "generation",
        "observedGeneration",
        "lastTransitionTime",
        "time",
        // Covers the owner's UID, which differs for an object that was made again.
        "easel.dev/applied-hash",
        // The same for a Model that the operator makes, and for the Job that imports it.
        "sourceHash",
        "job",
    ];
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !DIFFERS.contains(&key.as_str()));
            fields.values_mut().for_each(|field| scrub(field, uids));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| scrub(item, uids)),
        Value::String(text) => {
            if let Some((_, path)) = uids.iter().find(|(uid, _)| uid == text) {
                *text = path.clone();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[tokio::test]
async fn a_crash_after_any_write_ends_in_the_same_state() {
    let mut crashes = 0;
    for scenario in SCENARIOS {
        let (reference, _) = scenario.run("").await;
        let writes = reference.take_writes().len();
        let want = snapshot(&reference, true);
        assert!(writes > 0, "{}: the operator has something to do", scenario.name);
        for n in 1..=writes {
            let (api, crashed) = scenario.run(&format!("crash:WRITE:{n}")).await;
            assert!(crashed, "{}: write {n} of {writes} happens", scenario.name);
            assert_eq!(snapshot(&api, true), want, "{}, crash after write {n}", scenario.name);
            crashes += 1;
        }
    }
    assert!(crashes > 40, "only {crashes} crash points");
}

#[tokio::test]
async fn a_fault_at_any_request_ends_in_the_same_state() {
    for scenario in SCENARIOS.iter().filter(|scenario| ["create", "train"].contains(&scenario.name)) {
        let (reference, _) = scenario.run("").await;
        let writes = reference.take_writes().len();
        let want = snapshot(&reference, false);
        for fault in ["fail500", "conflict", "timeout", "lost"] {
            for n in 1..=writes {
                let (api, _) = scenario.run(&format!("{fault}:WRITE:{n}")).await;
                assert_eq!(snapshot(&api, false), want, "{}, {fault} at write {n}", scenario.name);
            }
        }
        for n in 1..=40 {
            let (api, _) = scenario.run(&format!("timeout:GET:{n}")).await;
            assert_eq!(snapshot(&api, false), want, "{}, no answer to read {n}", scenario.name);
        }
    }
}

#[tokio::test]
async fn an_idle_object_costs_no_write_also_after_a_restart() {
    let api = Api::default();
    model_dataset_and_training(&api);
    api.put(ENDPOINTS, endpoint("demo", &["m"]));
    let process = settle(&api).await;
    for collection in [MODELS, ENDPOINTS, DATASETS, TRAININGS] {
        for (path, object) in api.all(collection) {
            assert!(ready(&object).starts_with("True:"), "{path}: {}", object["status"]);
        }
    }
    let version = api.version();
    api.take_writes();
    let restarted = Process::start(&api, "");
    for process in [&process, &restarted] {
        for _ in 0..3 {
            assert!(process.look(&api, k8s_openapi::jiff::Timestamp::now()).await.is_empty());
        }
    }
    assert_eq!(api.take_writes(), Vec::<String>::new());
    assert_eq!(api.version(), version);
}

#[tokio::test]
async fn taking_a_change_back_restores_the_former_state() {
    let api = Api::default();
    model_and_endpoint(&api);
    settle(&api).await;
    let before = snapshot(&api, true);
    let changes: [(&str, Value); 6] = [
        ("nodeSelector", json!({"a": "b"})),
        ("tolerations", json!([{"operator": "Exists"}])),
        ("rollout", json!({"strategy": "Recreate"})),
        ("resources", json!({"limits": {"cpu": "0.5"}})),
        ("priorityClassName", json!("high")),
        ("replicas", json!(3)),
    ];
    for (field, value) in changes {
        api.change(&at(ENDPOINTS, "demo"), |endpoint| endpoint["spec"][field] = value.clone());
        settle(&api).await;
        assert_ne!(snapshot(&api, true), before, "{field} has an effect");
        api.change(&at(ENDPOINTS, "demo"), |endpoint| {
            endpoint["spec"].as_object_mut().unwrap().remove(field);
        });
        settle(&api).await;
        assert_eq!(snapshot(&api, true), before, "{field} taken back");
    }
}
