//! Deleting a Model that something uses.

use easel_tests::objects::{condition, easel_api};
use easel_tests::tenant::{upload_model, with_tenant};
use easel_tests::wait::{Seen, until};
use kube::ResourceExt;
use kube::api::DeleteParams;

#[tokio::test]
async fn a_model_in_use_goes_when_its_endpoint_does() {
    with_tenant("inuse", async |tenant| {
        tenant.apply(&upload_model("held")).await?;
        tenant
            .apply("{apiVersion: easel.dev/v1alpha1, kind: Endpoint, metadata: {name: user}, spec: {device: Cpu, replicas: 0, models: [{name: held}]}}")
            .await?;
        let models = easel_api(&tenant.client, &tenant.namespace, "Model");
        let endpoints = easel_api(&tenant.client, &tenant.namespace, "Endpoint");
        let held = |model: &kube::api::DynamicObject| !model.finalizers().is_empty();
        tenant.wait_for("Model", "held", "is held", 20, held).await;
        models.delete("held", &DeleteParams::default()).await?;
        let waiting = tenant
            .wait_for("Model", "held", "waits for its user", 20, |model| {
                condition(model, "Reconciling").reason == "InUse"
            })
            .await;
        let message = condition(&waiting, "Reconciling").message;
        assert!(message.contains("Endpoint user"), "{message}");
        endpoints.delete("user", &DeleteParams::default()).await?;
        until("the Model to go", 20, || async {
            let model = models.get_opt("held").await?;
            Ok(model.map_or(Seen::Done(()), |model| Seen::Waiting(model.data["status"].to_string())))
        })
        .await;
        Ok(())
    })
    .await;
}
