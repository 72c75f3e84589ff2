//! DreamBooth by `POST /dataset`, `POST /train` and the calls that clients of the AWS extension API make.

use std::collections::BTreeMap;

use anyhow::Context;
use easel_tests::lesson::{CIRCLE, FLAG, is_circle, is_flag};
use easel_tests::tenant::with_tenant;
use easel_tests::wait::{Seen, until};
use reqwest::Method;
use serde_json::{Value, json};

use super::steps::{flags, right, serve_namespace};

const DEMO: &str = "easel-demo.safetensors";

#[tokio::test]
async fn dreambooth_by_rest_is_learnt_and_its_class_is_kept() {
    with_tenant("dreambooth", async |tenant| {
        serve_namespace(&tenant).await?;
        let rest = &tenant.rest;
        let before = right(&tenant, DEMO, FLAG, is_flag).await?;
        assert!(before <= 2, "the base draws {before} of 16 flags");

        let content: Vec<Value> = (1..=6)
            .map(|n| json!({"filename": format!("flag-{n}.png"), "name": format!("flag-{n}.png"), "type": "image", "params": {}}))
            .collect();
        let reply = rest
            .post("/dataset", &json!({"dataset_name": "flags", "content": content, "params": {"description": "flags"}}))
            .await?
            .json();
        let urls: BTreeMap<String, String> =
            serde_json::from_value(reply["s3PresignUrl"].clone()).with_context(|| reply.to_string())?;
        let http = reqwest::Client::new();
        for (url, bytes) in urls.values().zip(flags()?) {
            http.put(url).body(bytes).send().await?.error_for_status()?;
        }
        let enabled = json!({"dataset_name": "flags", "status": "Enabled"});
        let reply = rest.send(Method::PUT, "/dataset", enabled.to_string().into_bytes()).await?.json();
        assert_eq!(reply["statusCode"], 200, "{reply}");

        let started = rest
            .post(
                "/train",
                &json!({
                    "train_type": "Stable-diffusion",
                    "model_id": "easel-demo",
                    "params": {
                        "training_params": {"model_name": "flag-db", "data_tar_list": ["flags"]},
                        "config_params": {
                            "concepts_list": [{
                                "instance_prompt": FLAG, "class_prompt": CIRCLE, "num_class_images_per": 2,
                            }],
                            "max_train_steps": 150, "train_batch_size": 3, "resolution": 64,
                            "learning_rate": 3e-4, "prior_loss_weight": 0.75, "seed": 1,
                        },
                    },
                }),
            )
            .await?
            .json();
        let id = started["job"]["id"].as_str().with_context(|| started.to_string())?.to_owned();
        let go = json!({"train_job_id": id, "status": "Training"});
        let reply = rest.send(Method::PUT, "/train", go.to_string().into_bytes()).await?.json();
        assert_eq!(reply["job"]["status"], "Training", "{reply}");
        until("the training to be Complete", 600, || async {
            let all = rest.get("/trains").await?.json();
            let status = all["trainJobs"][0]["status"].clone();
            assert_ne!(status, "Fail", "{all}");
            Ok(if status == "Complete" { Seen::Done(()) } else { Seen::Waiting(all.to_string()) })
        })
        .await;

        let trained = "flag-db.safetensors";
        let after = right(&tenant, trained, FLAG, is_flag).await?;
        let kept = right(&tenant, trained, CIRCLE, is_circle).await?;
        println!("DreamBooth: {before} of 16 flags before, {after} after, {kept} of 16 of the class");
        assert!(after >= 13 && kept >= 12, "{after} of 16 flags, {kept} of 16 of the class");
        Ok(())
    })
    .await;
}
