//! A LoRA by `kubectl apply -f examples/train-lora.yaml`.

use easel_tests::lesson::{FLAG, is_flag};
use easel_tests::tenant::with_tenant;

use super::steps::{complete, right, serve_namespace, upload_flags};

/// A Dataset and a TrainingJob, with a comment before each.
const EXAMPLE: &str = include_str!("../../../../examples/train-lora.yaml");
const DEMO: &str = "easel-demo.safetensors";

#[tokio::test]
async fn a_lora_from_the_example_is_used_in_the_next_request() {
    with_tenant("lora", async |tenant| {
        serve_namespace(&tenant).await?;
        let before = right(&tenant, DEMO, FLAG, is_flag).await?;
        assert!(before <= 2, "the base draws {before} of 16 flags");

        for object in EXAMPLE.split("\n---\n") {
            tenant.apply(object).await?;
        }
        upload_flags(&tenant, "flag").await?;
        let dataset = tenant.wait_ready("Dataset", "flag", 120).await;
        let counts = &dataset.data["status"];
        assert_eq!((&counts["itemCount"], &counts["enabledCount"]), (&6.into(), &6.into()), "{counts}");

        let pods = tenant.pods("easel.dev/endpoint=demo").await?;
        let done = complete(&tenant, "flag", 420).await;
        let status = &done.data["status"];
        assert_eq!((&status["step"], &status["totalSteps"]), (&250.into(), &250.into()), "{status}");
        for field in
            ["loss", "milliSecondsPerStep", "result", "checkpoint", "losses", "startTime", "completionTime"]
        {
            assert!(!status[field].is_null(), "{field} is in {status}");
        }
        assert_eq!(status["samples"].as_array().map(Vec::len), Some(2), "{status}");

        let after = right(&tenant, DEMO, &format!("{FLAG} <lora:flag:1>"), is_flag).await?;
        println!("LoRA: {before} of 16 flags before, {after} after");
        assert!(after >= 13, "{after} of 16 flags");
        assert_eq!(tenant.pods("easel.dev/endpoint=demo").await?, pods, "no worker was restarted");

        let model = tenant.wait_ready("Model", "flag", 5).await;
        assert_eq!(model.data["spec"]["type"], "Lora");
        assert!(
            model.data["status"]["triggerWords"].to_string().contains("sks flag"),
            "{}",
            model.data["status"]
        );
        let shown = tenant.rest.get("/easel/v1/trainings/flag").await?.json();
        let sample = shown["samples"][0]["url"].as_str().expect("a presigned URL of a sample").to_owned();
        let picture = reqwest::get(&sample).await?.error_for_status()?.bytes().await?;
        assert_eq!(image::load_from_memory(&picture)?.to_rgb8().dimensions(), (64, 64));
        Ok(())
    })
    .await;
}
