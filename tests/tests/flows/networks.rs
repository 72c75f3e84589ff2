//! A LoRA that comes while the Endpoint serves is used by the next request.

use easel_tests::objects::condition;
use easel_tests::rest::request;
use easel_tests::tenant::{DEMO_WEIGHTS, Tenant, upload_model, with_tenant};
use easel_tests::wait::{Seen, until};
use image::RgbImage;
use serde_json::Value;

const ENDPOINT: &str = "
apiVersion: easel.dev/v1alpha1
kind: Endpoint
metadata: {name: demo}
spec:
  device: Cpu
  replicas: 1
  modelPolicy: Namespace
  models: [{name: easel-demo}]
  resources: {requests: {cpu: 50m, memory: 128Mi}, limits: {memory: 1Gi}}
";

const INK: &str = "
apiVersion: easel.dev/v1alpha1
kind: Model
metadata: {name: ink}
spec:
  type: Lora
  displayName: ink.safetensors
  source: {upload: {files: [{name: ink.safetensors}]}}
";

const PROMPT: &str = "a red circle on a blue background";

/// Low rank, small values, and a large alpha: the last attentions on the way up read the text otherwise.
fn lora() -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::<u8>::new());
    for n in 0..3 {
        let stem = format!("lora_unet_up_blocks_3_attentions_{n}_transformer_blocks_0_attn2_to_v");
        let tensors: [(&str, &[usize], f32); 3] = [
            ("lora_down.weight", &[2, 32], 0.02),
            ("lora_up.weight", &[64, 2], 0.02),
            ("alpha", &[], 4000.0),
        ];
        for (part, shape, value) in tensors {
            let begin = data.len();
            (0..shape.iter().product::<usize>()).for_each(|_| data.extend(value.to_le_bytes()));
            let end = data.len();
            entries.push(format!(
                "\"{stem}.{part}\":{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[{begin},{end}]}}"
            ));
        }
    }
    let header = format!("{{{}}}", entries.join(","));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// Draws, once the facade takes the request: its watch may be a moment behind what `kubectl` shows.
async fn draw(tenant: &Tenant, prompt: &str) -> anyhow::Result<RgbImage> {
    let body = request("demo", prompt, 12, 7);
    let id = until("the request to be taken", 10, || async {
        let reply = tenant.rest.post("/inference-api/inference", &body).await?;
        let id = reply.json()["inference_id"].as_str().map(str::to_owned);
        Ok(id.map_or(Seen::Waiting(reply.text), Seen::Done))
    })
    .await;
    let job = tenant.rest.finished(&id, 60).await?;
    anyhow::ensure!(job["status"] == "succeed", "{prompt}: {job}");
    Ok(tenant.rest.pictures(&id).await?.remove(0))
}

fn pods_of(tenant: &Tenant) -> impl Future<Output = anyhow::Result<Vec<String>>> {
    tenant.pods("easel.dev/endpoint=demo")
}

#[tokio::test]
async fn a_lora_that_comes_while_the_endpoint_serves_is_used_by_the_next_request() {
    with_tenant("networks", async |tenant| {
        tenant.apply(&upload_model("easel-demo")).await?;
        tenant.apply(ENDPOINT).await?;
        tenant.upload("easel-demo", tokio::fs::read(DEMO_WEIGHTS).await?).await;
        tenant.wait_ready("Model", "easel-demo", 60).await;
        tenant.wait_ready("Endpoint", "demo", 60).await;
        let held = tenant
            .wait_for("Endpoint", "demo", "says that its model is loaded", 60, |endpoint| {
                endpoint.data["status"]["models"][0]["state"] == "Loaded"
            })
            .await;
        let want = serde_json::json!([{"name": "easel-demo", "state": "Loaded", "loaded": 1}]);
        assert_eq!(held.data["status"]["models"], want);
        let pods = pods_of(&tenant).await?;
        let before = draw(&tenant, PROMPT).await?;

        let refused =
            tenant.rest.post("/inference-api/inference", &request("demo", "<lora:ink:1>", 12, 7)).await?;
        assert!(refused.text.contains("type Lora is not found"), "{}", refused.text);

        tenant.apply(INK).await?;
        tenant.upload("ink", lora()).await;
        tenant.wait_ready("Model", "ink", 60).await;
        let with = draw(&tenant, &format!("{PROMPT} <lora:ink:1>")).await?;
        assert!(with != before, "the LoRA changes the picture");
        let zero = draw(&tenant, &format!("{PROMPT} <lora:ink:0>")).await?;
        assert!(zero == before && draw(&tenant, PROMPT).await? == before, "and only where it acts");
        assert_eq!(pods_of(&tenant).await?, pods, "nothing was restarted");
        let endpoint = tenant
            .wait_for("Endpoint", "demo", "says that the LoRA is loaded", 30, |endpoint| {
                let models = endpoint.data["status"]["models"].as_array();
                models
                    .into_iter()
                    .flatten()
                    .any(|model: &Value| model["name"] == "ink" && model["state"] == "Loaded")
            })
            .await;
        assert_eq!(condition(&endpoint, "Ready").status, "True");
        Ok(())
    })
    .await;
}
