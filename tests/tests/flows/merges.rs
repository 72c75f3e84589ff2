//! Models that are merged from others.

use easel_tests::objects::condition;
use easel_tests::picture::{background, colour_at};
use easel_tests::tenant::{DEMO_WEIGHTS, upload_model, with_tenant};

const MERGED: &str = "
apiVersion: easel.dev/v1alpha1
kind: Model
metadata: {name: merged}
spec:
  type: Checkpoint
  # What the facade's client asks for.
  displayName: easel-demo.safetensors
  source:
    merge: {method: WeightedSum, multiplier: \"0.3\", models: [{name: one}, {name: other}]}
";

const ENDPOINT: &str = "
apiVersion: easel.dev/v1alpha1
kind: Endpoint
metadata: {name: demo}
spec:
  device: Cpu
  replicas: 1
  models: [{name: merged}]
  resources: {requests: {cpu: 50m, memory: 128Mi}, limits: {memory: 1Gi}}
";

#[tokio::test]
async fn a_merge_waits_for_its_models_and_draws_what_they_draw() {
    with_tenant("merge", async |tenant| {
        let weights = tokio::fs::read(DEMO_WEIGHTS).await?;
        tenant.apply(MERGED).await?;
        let waiting = tenant
            .wait_for("Model", "merged", "waits", 20, |model| {
                condition(model, "Ready").reason == "WaitingForModels"
            })
            .await;
        let message = condition(&waiting, "Ready").message;
        assert!(message.contains("Model one does not exist"), "{message}");
        for name in ["one", "other"] {
            tenant.apply(&upload_model(name)).await?;
            tenant.upload(name, weights.clone()).await;
        }
        let merged = tenant.wait_ready("Model", "merged", 90).await;
        let status = &merged.data["status"];
        assert_eq!(status["files"][0]["name"], "merged.safetensors");
        assert_eq!((&status["family"], &status["precision"]), (&"Sd1".into(), &"f16".into()));

        tenant.apply(ENDPOINT).await?;
        tenant.wait_ready("Endpoint", "demo", 60).await;
        let id = tenant.rest.submit("demo", "a red circle on a blue background", 25, 1).await?;
        let job = tenant.rest.finished(&id, 60).await?;
        assert_eq!(job["status"], "succeed", "{job}");
        let picture = tenant.rest.pictures(&id).await?.remove(0);
        assert_eq!((colour_at(&picture, 0.5, 0.5, 8), background(&picture)), ("red", "blue"));
        Ok(())
    })
    .await;
}
