//! A Dataset says which of its pictures cannot be trained on, and is Ready without them.

use easel_tests::objects::{condition, easel_api};
use easel_tests::tenant::with_tenant;
use easel_tests::wait::{Seen, until};
use kube::api::{Patch, PatchParams};
use reqwest::Method;
use serde_json::json;

use super::steps::flags;

const DATASET: &str = "
apiVersion: easel.dev/v1alpha1
kind: Dataset
metadata: {name: mixed}
spec: {items: [{name: good.png}, {name: twin.png}, {name: broken.png}]}
";

#[tokio::test]
async fn a_broken_picture_is_named_and_left_out() {
    with_tenant("dataset", async |tenant| {
        tenant.apply(DATASET).await?;
        let good = flags()?.remove(0);
        let broken = good[..good.len() / 2].to_vec();
        for (name, bytes) in [("good.png", &good), ("twin.png", &good), ("broken.png", &broken)] {
            let path = format!("/easel/v1/datasets/mixed/items/{name}");
            until("a picture to be accepted", 30, || async {
                let reply = tenant.rest.send(Method::PUT, &path, bytes.clone()).await?;
                Ok(if reply.status.is_success() { Seen::Done(()) } else { Seen::Waiting(reply.text) })
            })
            .await;
        }
        let found = tenant
            .wait_for("Dataset", "mixed", "names the broken picture", 120, |object| {
                condition(object, "Ready").reason == "ItemsInvalid"
            })
            .await;
        let status = &found.data["status"];
        assert!(condition(&found, "Ready").message.contains("broken.png"), "{status}");
        assert_eq!(status["problems"][0], json!({"name": "broken.png", "reason": "Unreadable"}));
        assert_eq!((&status["invalidCount"], &status["duplicateCount"]), (&json!(1), &json!(1)), "{status}");

        let datasets = easel_api(&tenant.client, &tenant.namespace, "Dataset");
        let without = json!({"spec": {"items": [
            {"name": "good.png"}, {"name": "twin.png"}, {"name": "broken.png", "state": "Disabled"},
        ]}});
        datasets.patch("mixed", &PatchParams::default(), &Patch::Merge(&without)).await?;
        let ready = tenant.wait_ready("Dataset", "mixed", 60).await;
        let status = &ready.data["status"];
        assert_eq!((&status["itemCount"], &status["enabledCount"]), (&json!(3), &json!(2)), "{status}");
        Ok(())
    })
    .await;
}
