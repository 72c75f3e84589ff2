//! What the API server adds and drops, against what the Rust types say.

use anyhow::Context;
use easel_crds::{Endpoint, EndpointSpec, ObjectRef};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use easel_tests::objects::easel_api;

use crate::server::with_namespace;

#[tokio::test]
async fn the_api_server_fills_in_the_defaults_that_rust_has() {
    with_namespace("crd-defaults", async |client, namespace| {
        let dynamic = easel_api(&client, &namespace, "Endpoint");
        let bare = serde_json::from_value(json!({
            "apiVersion": "easel.dev/v1alpha1", "kind": "Endpoint", "metadata": {"name": "bare"},
            // Null means unset; it is dropped before rules see it.
            "spec": {"models": [{"name": "m"}], "instanceType": null, "resources": {"limits": {"cpu": 2}}},
        }))?;
        dynamic.create(&PostParams::default(), &bare).await.context("an Endpoint with one model")?;
        let made = Api::<Endpoint>::namespaced(client, &namespace).get("bare").await?;
        let mut want = EndpointSpec { models: vec![ObjectRef::new("m")], ..EndpointSpec::default() };
        want.resources = made.spec.resources.clone();
        assert_eq!(made.spec, want);
        assert_eq!(want.resources.context("resources")?.limits["cpu"].0, "2", "an integer is a quantity too");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_list_of_models_is_merged_by_name_and_refuses_doubles() {
    with_namespace("crd-lists", async |client, namespace| {
        let api: Api<Endpoint> = Api::namespaced(client, &namespace);
        for (manager, model) in [("one", "a"), ("two", "b")] {
            let patch = json!({
                "apiVersion": "easel.dev/v1alpha1", "kind": "Endpoint", "metadata": {"name": "shared"},
                "spec": {"models": [{"name": model}]},
            });
            api.patch("shared", &PatchParams::apply(manager), &Patch::Apply(&patch)).await?;
        }
        let names: Vec<String> =
            api.get("shared").await?.spec.models.into_iter().map(|model| model.name).collect();
        assert_eq!(names, ["a", "b"], "each manager owns its entry");
        let doubled = json!({"spec": {"models": [{"name": "a"}, {"name": "a"}]}});
        let answer = api.patch("shared", &PatchParams::default(), &Patch::Merge(&doubled)).await;
        let text = answer.expect_err("a double is refused").to_string();
        assert!(text.contains("Duplicate value"), "{text}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_scale_subresource_reads_status_and_writes_spec() {
    with_namespace("crd-scale", async |client, namespace| {
        let api: Api<Endpoint> = Api::namespaced(client, &namespace);
        let spec = EndpointSpec { models: vec![ObjectRef::new("m")], ..EndpointSpec::default() };
        api.create(&PostParams::default(), &Endpoint::new("scaled", spec)).await?;
        let status =
            json!({"status": {"replicas": 1, "readyReplicas": 1, "selector": "easel.dev/endpoint=scaled"}});
        api.patch_status("scaled", &PatchParams::default(), &Patch::Merge(&status)).await?;
        api.patch_scale("scaled", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 3}})))
            .await?;
        let scale = api.get_scale("scaled").await?;
        let seen = scale.status.context("a status")?;
        assert_eq!((seen.replicas, seen.selector.as_deref()), (1, Some("easel.dev/endpoint=scaled")));
        assert_eq!(api.get("scaled").await?.spec.replicas, 3);
        Ok(())
    })
    .await;
}
