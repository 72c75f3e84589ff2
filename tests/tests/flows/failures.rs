//! What goes wrong with an Endpoint's pods stands in its status within ten seconds, with what to do.

use std::time::{Duration, Instant};

use easel_tests::objects::{condition, last_failure};
use easel_tests::tenant::{DEMO_WEIGHTS, Tenant, upload_model, with_tenant};
use easel_tests::wait::{Seen, until};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

/// From the pod's own status to the Endpoint's.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// Waits for the first pod of the endpoint of which `failed` holds, then for the Endpoint to say `reason`.
async fn shown(tenant: &Tenant, endpoint: &str, reasons: &[&str], failed: impl Fn(&Pod) -> bool) -> bool {
    let pods: Api<Pod> = Api::namespaced(tenant.client.clone(), &tenant.namespace);
    let selector = ListParams::default().labels(&format!("easel.dev/endpoint={endpoint}"));
    until("the pod to fail", 90, || async {
        let list = pods.list(&selector).await?;
        let seen =
            list.iter().map(|pod| serde_json::to_string(&pod.status).unwrap_or_default()).collect::<String>();
        Ok(if list.iter().any(&failed) { Seen::Done(()) } else { Seen::Waiting(seen) })
    })
    .await;
    let since = Instant::now();
    let object = tenant
        .wait_for("Endpoint", endpoint, &format!("says {reasons:?}"), 20, |object| {
            last_failure(object)["reason"].as_str().is_some_and(|reason| reasons.contains(&reason))
        })
        .await;
    assert!(since.elapsed() <= SHOWN_WITHIN, "{endpoint}: shown after {:?}", since.elapsed());
    let ready = condition(&object, "Ready");
    assert_eq!(ready.status, "False", "{endpoint}: {ready:?}");
    assert!(!ready.message.is_empty(), "{endpoint} says why");
    last_failure(&object)["retriable"].as_bool().expect("retriable is said")
}

fn terminated(pod: &Pod, holds: impl Fn(&str, i32) -> bool) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().any(|status| {
        [&status.state, &status.last_state]
            .into_iter()
            .flatten()
            .filter_map(|state| state.terminated.as_ref())
            .any(|end| holds(end.reason.as_deref().unwrap_or(""), end.exit_code))
    })
}

fn unschedulable(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.reason.as_deref() == Some("Unschedulable"))
}

#[tokio::test]
async fn a_pod_that_fits_nowhere() {
    with_tenant("nofit", async |tenant| {
        tenant
            .apply("{apiVersion: easel.dev/v1alpha1, kind: Endpoint, metadata: {name: huge}, spec: {device: Cpu, modelPolicy: Namespace, resources: {requests: {cpu: \"4000\"}}}}")
            .await?;
        assert!(shown(&tenant, "huge", &["Unschedulable"], unschedulable).await, "room may come");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn memory_that_is_too_small_and_a_model_that_cannot_be_loaded() {
    with_tenant("pods", async |tenant| {
        // Named and shaped as the demo model but for one tensor: its header passes the import, the load cannot.
        let mut weights = tokio::fs::read(DEMO_WEIGHTS).await?;
        let (from, to) = (b"model.diffusion_model.out.2.weight", b"model.diffusion_model.out.9.weight");
        let at = weights.windows(from.len()).position(|window| window == from).expect("a UNet has an output layer");
        weights[at..at + to.len()].copy_from_slice(to);
        tenant.apply(&upload_model("spoilt")).await?;
        tenant.apply(&upload_model("easel-demo")).await?;
        tenant.upload("spoilt", weights).await;
        tenant.upload("easel-demo", tokio::fs::read(DEMO_WEIGHTS).await?).await;
        tenant.wait_ready("Model", "spoilt", 60).await;
        tenant.wait_ready("Model", "easel-demo", 60).await;
        let endpoint = |name: &str, model: &str, memory: &str| {
            format!("{{apiVersion: easel.dev/v1alpha1, kind: Endpoint, metadata: {{name: {name}}}, spec: {{device: Cpu, models: [{{name: {model}}}], resources: {{requests: {{memory: {memory}}}, limits: {{memory: {memory}}}}}}}}}")
        };
        tenant.apply(&endpoint("small", "easel-demo", "24Mi")).await?;
        tenant.apply(&endpoint("unloadable", "spoilt", "512Mi")).await?;

        let retriable = shown(&tenant, "unloadable", &["ModelLoadFailed", "MissingTensor"], |pod| {
            terminated(pod, |_, code| code == easel_protocol::failure::EXIT_PERMANENT)
        });
        assert!(!retriable.await, "the same file fails again");
        shown(&tenant, "small", &["OOMKilled"], |pod| terminated(pod, |reason, code| reason == "OOMKilled" || code == 137))
            .await;
        Ok(())
    })
    .await;
}
