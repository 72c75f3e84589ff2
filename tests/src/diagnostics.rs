//! What a failed test prints: the namespace's objects, events and logs.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt};

use crate::objects::easel_api;

/// Prints everything that tells why a namespace is not as expected.
pub async fn print(client: &Client, namespace: &str) {
    eprintln!("--- namespace {namespace}");
    for kind in ["Endpoint", "Model"] {
        let Ok(list) = easel_api(client, namespace, kind).list(&ListParams::default()).await else {
            continue;
        };
        for object in list {
            eprintln!("{kind} {}: {}", object.name_any(), object.data["status"]);
        }
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    for pod in pods.list(&ListParams::default()).await.into_iter().flatten() {
        let name = pod.name_any();
        eprintln!("pod {name}: {}", serde_json::to_string(&pod.status).unwrap_or_default());
        for previous in [true, false] {
            let params = LogParams { tail_lines: Some(20), previous, ..LogParams::default() };
            if let Ok(text) = pods.logs(&name, &params).await {
                eprintln!("log of {name}{}:\n{text}", if previous { " (before)" } else { "" });
            }
        }
    }
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    for event in events.list(&ListParams::default()).await.into_iter().flatten() {
        let about = event.involved_object.name.unwrap_or_default();
        eprintln!(
            "event {about}: {} {}",
            event.reason.unwrap_or_default(),
            event.message.unwrap_or_default()
        );
    }
}
