//! A run that is killed, drained or suspended goes on where it was; Kueue holds and releases it by the Job's `suspend`.

use easel_tests::objects::{condition, easel_api};
use easel_tests::tenant::{Tenant, with_tenant};
use easel_tests::wait::{until, when};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, EvictParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::steps::{base, complete, upload_flags};

const DATASET: &str = "
apiVersion: easel.dev/v1alpha1
kind: Dataset
metadata: {name: flag}
spec: {items: [{name: flag-1.png}, {name: flag-2.png}, {name: flag-3.png}, {name: flag-4.png}, {name: flag-5.png}, {name: flag-6.png}]}
";

fn job(name: &str, more: &str) -> String {
    format!(
        "apiVersion: easel.dev/v1alpha1\nkind: TrainingJob\nmetadata: {{name: {name}}}\nspec:\n  method: Lora\n  \
         baseModel: {{name: easel-demo}}\n  concepts: [{{dataset: {{name: flag}}, instancePrompt: a sks flag}}]\n  \
         output: {{modelName: {name}}}\n  lora: {{rank: 4, dropout: \"0.1\"}}\n  hyperparameters: {{steps: 60, batchSize: 2, \
         resolution: 64, learningRate: \"1e-3\", seed: 7, horizontalFlip: true}}\n  checkpoints: {{everySteps: 10}}\n  \
         resources: {{requests: {{cpu: 100m, memory: 256Mi}}, limits: {{memory: 2Gi}}}}\n{more}"
    )
}

async fn at_step(tenant: &Tenant, name: &str, step: u64) {
    tenant
        .wait_for("TrainingJob", name, "has a checkpoint", 180, |object| {
            object.data["status"]["checkpoint"]["step"].as_u64().is_some_and(|done| done >= step)
        })
        .await;
}

/// The loss of each step, by step; the other columns tell of time.
async fn losses(tenant: &Tenant, name: &str) -> anyhow::Result<Vec<String>> {
    let shown = tenant.rest.get(&format!("/easel/v1/trainings/{name}")).await?.json();
    let url = shown["losses_url"].as_str().expect("a presigned URL of the losses").to_owned();
    let text = reqwest::get(&url).await?.error_for_status()?.text().await?;
    Ok(text.lines().map(|line| line.split(',').take(2).collect::<Vec<_>>().join(",")).collect())
}

async fn suspend(tenant: &Tenant, name: &str, suspend: bool) -> anyhow::Result<()> {
    let api = easel_api(&tenant.client, &tenant.namespace, "TrainingJob");
    let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
    api.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// What a run has left: its losses, and the hash of its weights, names included.
async fn outcome(tenant: &Tenant, name: &str) -> anyhow::Result<(Vec<String>, Value)> {
    complete(tenant, name, 300).await;
    let model = tenant.wait_ready("Model", name, 60).await;
    Ok((losses(tenant, name).await?, model.data["status"]["files"][0]["sha256"].clone()))
}

/// Deletes the TrainingJob and the Model that it made.
async fn forget(tenant: &Tenant, name: &str) -> anyhow::Result<()> {
    for kind in ["TrainingJob", "Model"] {
        let api = easel_api(&tenant.client, &tenant.namespace, kind);
        api.delete(name, &DeleteParams::default()).await?;
        until(&format!("{kind} {name} to be gone"), 60, || async {
            when(api.get_opt(name).await?.is_some(), |found| !found)
        })
        .await;
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_drained_and_suspended_run_ends_as_if_nothing_had_happened() {
    with_tenant("resume", async |tenant| {
        base(&tenant).await?;
        tenant.apply(DATASET).await?;
        upload_flags(&tenant, "flag").await?;
        tenant.apply(&job("run", "")).await?;
        let smooth = outcome(&tenant, "run").await?;
        assert_eq!(smooth.0.len(), 61, "a head and a line for each step");
        forget(&tenant, "run").await?;

        tenant.apply(&job("run", "")).await?;
        at_step(&tenant, "run", 10).await;
        let pods: Api<Pod> = Api::namespaced(tenant.client.clone(), &tenant.namespace);
        let of_run = "easel.dev/training-job=run";
        let killed = tenant.pods(of_run).await?;
        for pod in &killed {
            pods.delete(pod, &DeleteParams::default().grace_period(0)).await?;
        }
        at_step(&tenant, "run", 20).await;
        let drained = tenant.pods(of_run).await?;
        assert!(drained.iter().all(|pod| !killed.contains(pod)), "{drained:?} goes on for {killed:?}");
        for pod in &drained {
            // As `kubectl drain` does.
            pods.evict(pod, &EvictParams::default()).await?;
        }
        at_step(&tenant, "run", 30).await;
        let held = tenant.pods(of_run).await?;
        assert!(held.iter().any(|pod| !drained.contains(pod)), "{held:?} goes on for {drained:?}");
        suspend(&tenant, "run", true).await?;
        tenant
            .wait_for("TrainingJob", "run", "is Suspended", 60, |object| {
                condition(object, "Suspended").status == "True"
            })
            .await;
        suspend(&tenant, "run", false).await?;
        let disturbed = outcome(&tenant, "run").await?;
        let last = tenant.pods(of_run).await?;
        assert!(last.iter().any(|pod| !held.contains(pod)), "{last:?} goes on for {held:?}");
        assert_eq!(smooth, disturbed, "the same numbers, bit for bit");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_queue_starts_a_run_and_a_wrong_one_says_why() {
    with_tenant("queue", async |tenant| {
        base(&tenant).await?;
        tenant.apply(DATASET).await?;
        tenant.apply(&job("early", "")).await?;
        let waiting = tenant
            .wait_for("TrainingJob", "early", "waits for pictures", 60, |object| {
                condition(object, "Ready").reason == "WaitingForDataset"
            })
            .await;
        assert!(condition(&waiting, "Ready").message.contains("flag"), "{}", waiting.data["status"]);
        upload_flags(&tenant, "flag").await?;

        tenant.apply(&job("queued", "  queueName: gpus\n")).await?;
        let held = tenant
            .wait_for("TrainingJob", "queued", "is held", 90, |object| {
                condition(object, "Suspended").status == "True"
            })
            .await;
        assert_eq!(condition(&held, "Suspended").reason, "WaitingForQueue");
        // What Kueue does when there is room.
        let jobs: Api<Job> = Api::namespaced(tenant.client.clone(), &tenant.namespace);
        let name = held.data["status"]["job"].as_str().expect("the Job is named").to_owned();
        let label = jobs.get(&name).await?.metadata.labels.unwrap_or_default();
        assert_eq!(label.get("kueue.x-k8s.io/queue-name").map(String::as_str), Some("gpus"));
        jobs.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"spec": {"suspend": false}})))
            .await?;
        at_step(&tenant, "queued", 10).await;

        tenant.apply(&job("taken", "").replace("modelName: taken", "modelName: easel-demo")).await?;
        let stalled = tenant
            .wait_for("TrainingJob", "taken", "says why not", 60, |object| {
                condition(object, "Stalled").status == "True"
            })
            .await;
        assert_eq!(condition(&stalled, "Stalled").reason, "OutputModelExists");
        Ok(())
    })
    .await;
}
