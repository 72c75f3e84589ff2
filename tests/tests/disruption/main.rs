//! Processes die in the middle: nothing that was accepted is lost, nothing is done twice.
//! These tests disturb the whole release, so they run alone, one after the other.

mod volumes;

use easel_tests::objects::last_failure;
use easel_tests::tenant::{Tenant, with_tenant};
use easel_tests::wait::{Seen, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

/// Long enough to be killed in the middle: pictures one after the other.
async fn long_job(tenant: &Tenant) -> anyhow::Result<String> {
    let mut body = easel_tests::rest::request("demo", "a red circle on a blue background", 150, 3);
    body["n_iter"] = 8.into();
    let reply = tenant.rest.post("/inference-api/inference", &body).await?;
    let id = reply.json()["inference_id"].as_str().expect(&reply.text).to_owned();
    until("the job to make progress", 30, || async {
        let job = tenant.rest.get(&format!("/inference/get-inference-job?jobID={id}")).await?.json();
        let started = job["progress"]["done"].as_u64().unwrap_or(0) > 0;
        Ok(if started { Seen::Done(()) } else { Seen::Waiting(job.to_string()) })
    })
    .await;
    Ok(id)
}

/// SIGKILL for every container of the pods with that label: no grace, no hook.
async fn kill(client: &Client, namespace: &str, selector: &str) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = pods.list(&ListParams::default().labels(selector)).await?;
    assert!(!list.items.is_empty(), "pods with {selector} are there to be killed");
    for pod in list {
        pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
    }
    Ok(())
}

async fn succeeds_once(tenant: &Tenant, id: &str) -> anyhow::Result<()> {
    let job = tenant.rest.finished(id, 180).await?;
    assert_eq!(job["status"], "succeed", "{job}");
    assert_eq!(job["image_names"].as_array().map(Vec::len), Some(8), "{job}");
    assert_eq!(tenant.rest.pictures(id).await?.len(), 8);
    let jobs = tenant.rest.get("/inference/list-inference-jobs").await?.json();
    assert_eq!(jobs.as_array().map(Vec::len), Some(1), "one job, however often it was tried: {jobs}");
    Ok(())
}

#[tokio::test]
async fn a_killed_runtime_hands_its_job_to_another() {
    with_tenant("killruntime", async |tenant| {
        tenant.serve_demo(1).await?;
        let id = long_job(&tenant).await?;
        kill(&tenant.client, &tenant.namespace, "easel.dev/endpoint=demo").await?;
        succeeds_once(&tenant, &id).await
    })
    .await;
}

#[tokio::test]
async fn facade_and_operator_may_die_while_a_job_runs() {
    with_tenant("killcontrol", async |tenant| {
        tenant.serve_demo(1).await?;
        let id = long_job(&tenant).await?;
        for component in ["facade", "operator"] {
            let selector = format!("app.kubernetes.io/component={component}");
            kill(&tenant.client, &tenant.release_namespace, &selector).await?;
        }
        succeeds_once(&tenant, &id).await?;
        // The operator is back as well: a change is acted on.
        tenant
            .apply("{apiVersion: easel.dev/v1alpha1, kind: Endpoint, metadata: {name: later}, spec: {device: Cpu, modelPolicy: Namespace, resources: {requests: {cpu: 10m}}}}")
            .await?;
        tenant.wait_ready("Endpoint", "later", 60).await;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_image_that_is_not_there_is_told() {
    with_tenant("noimage", async |tenant| {
        let deployments: Api<Deployment> = Api::namespaced(tenant.client.clone(), &tenant.release_namespace);
        let operator = deployments.get("easel-operator").await?;
        let mut env = json!(operator.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).map(|pod| &pod.containers[0].env));
        for variable in env.as_array_mut().into_iter().flatten().filter(|one| one["name"] == "EASEL_RUNTIME_IMAGE") {
            variable["value"] = json!("localhost/easel/none:0");
        }
        set_env(&deployments, &env).await?;
        tenant
            .apply("{apiVersion: easel.dev/v1alpha1, kind: Endpoint, metadata: {name: noimage}, spec: {device: Cpu, modelPolicy: Namespace, resources: {requests: {cpu: 10m}}}}")
            .await?;
        let object = tenant
            .wait_for("Endpoint", "noimage", "names the image", 90, |object| {
                last_failure(object)["message"].as_str().is_some_and(|message| message.contains("localhost/easel/none:0"))
            })
            .await;
        let before = json!(operator.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).map(|pod| &pod.containers[0].env));
        set_env(&deployments, &before).await?;
        assert_eq!(last_failure(&object)["retriable"], json!(true));
        tenant.wait_ready("Endpoint", "noimage", 90).await;
        Ok(())
    })
    .await;
}

/// Replaces the operator's environment (a merge patch replaces the container list as a whole).
async fn set_env(deployments: &Api<Deployment>, env: &serde_json::Value) -> anyhow::Result<()> {
    let mut operator = deployments.get("easel-operator").await?;
    operator.metadata.managed_fields = None;
    let pod = operator.spec.as_mut().and_then(|spec| spec.template.spec.as_mut()).expect("a pod template");
    pod.containers[0].env = serde_json::from_value(env.clone())?;
    let patch = Patch::Merge(json!({"spec": {"template": {"spec": {"containers": pod.containers}}}}));
    deployments.patch("easel-operator", &PatchParams::default(), &patch).await?;
    Ok(())
}
