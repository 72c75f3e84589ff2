//! What a person does on the way from pictures to pictures.

use std::io::Cursor;

use anyhow::Context;
use easel_tests::lesson;
use easel_tests::objects::condition;
use easel_tests::rest::request;
use easel_tests::tenant::{DEMO_WEIGHTS, Tenant, upload_model};
use easel_tests::wait::{Seen, until};
use image::{ImageFormat, RgbImage};
use kube::api::DynamicObject;
use reqwest::Method;

/// Pictures that a lesson is judged on.
pub const PICTURES: usize = 16;
const PICTURES_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/training/flag");
/// Two of them at once, as long as a CPU that trains too needs for eight.
const BATCH: usize = 8;

/// The demo model at an Endpoint that may use whatever the namespace has.
const ENDPOINT: &str = "
apiVersion: easel.dev/v1alpha1
kind: Endpoint
metadata: {name: demo}
spec:
  device: Cpu
  replicas: 1
  modelPolicy: Namespace
  models: [{name: easel-demo}]
  resources: {requests: {cpu: 50m, memory: 128Mi}, limits: {memory: 2Gi}}
";

/// Serves the demo model at the Endpoint `demo`.
pub async fn serve_namespace(tenant: &Tenant) -> anyhow::Result<()> {
    base(tenant).await?;
    tenant.apply(ENDPOINT).await?;
    tenant.wait_ready("Endpoint", "demo", 60).await;
    Ok(())
}

/// The demo model, Ready.
pub async fn base(tenant: &Tenant) -> anyhow::Result<()> {
    tenant.apply(&upload_model("easel-demo")).await?;
    tenant.upload("easel-demo", tokio::fs::read(DEMO_WEIGHTS).await?).await;
    tenant.wait_ready("Model", "easel-demo", 60).await;
    Ok(())
}

/// The flags as PNG files.
pub fn flags() -> anyhow::Result<Vec<Vec<u8>>> {
    lesson::flags().iter().map(png).collect()
}

fn png(picture: &RgbImage) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// Sends the pictures of `examples/training` to a Dataset that has them as items.
pub async fn upload_flags(tenant: &Tenant, dataset: &str) -> anyhow::Result<()> {
    for name in (1..=6).map(|n| format!("flag-{n}.png")) {
        let bytes = tokio::fs::read(format!("{PICTURES_FOLDER}/{name}")).await?;
        let path = format!("/easel/v1/datasets/{dataset}/items/{name}");
        until("a picture to be accepted", 30, || async {
            let reply = tenant.rest.send(Method::PUT, &path, bytes.clone()).await?;
            Ok(if reply.status.is_success() { Seen::Done(()) } else { Seen::Waiting(reply.text) })
        })
        .await;
    }
    Ok(())
}

/// Waits until the TrainingJob is Complete; fails at once when it is Failed.
pub async fn complete(tenant: &Tenant, name: &str, seconds: u64) -> DynamicObject {
    let done = tenant
        .wait_for("TrainingJob", name, "is Complete", seconds, |object| {
            ["Complete", "Failed"].iter().any(|kind| condition(object, kind).status == "True")
        })
        .await;
    let failed = condition(&done, "Failed");
    assert_ne!(failed.status, "True", "{name}: {}", failed.message);
    done
}

/// Sixteen pictures of a prompt by this checkpoint.
pub async fn draw(tenant: &Tenant, checkpoint: &str, prompt: &str) -> anyhow::Result<Vec<RgbImage>> {
    let mut body = request("demo", prompt, 20, 100);
    body["models"]["Stable-diffusion"] = serde_json::json!([checkpoint]);
    body["sampler_name"] = "DDIM".into();
    body["cfg_scale"] = 5.0.into();
    body["batch_size"] = BATCH.into();
    body["n_iter"] = (PICTURES / BATCH).into();
    let reply = tenant.rest.post("/inference-api/inference", &body).await?;
    let id = reply.json()["inference_id"].as_str().map(str::to_owned).with_context(|| reply.text.clone())?;
    let job = tenant.rest.finished(&id, 180).await?;
    assert_eq!(job["status"], "succeed", "{prompt}: {job}");
    let pictures = tenant.rest.pictures(&id).await?;
    assert_eq!(pictures.len(), PICTURES, "{prompt}");
    Ok(pictures)
}

/// How many of sixteen pictures of a prompt are right.
pub async fn right(
    tenant: &Tenant,
    checkpoint: &str,
    prompt: &str,
    is_right: fn(&RgbImage) -> bool,
) -> anyhow::Result<usize> {
    Ok(draw(tenant, checkpoint, prompt).await?.iter().filter(|picture| is_right(picture)).count())
}
