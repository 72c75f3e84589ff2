//! The cluster: CRDs installed, a namespace for one test.

use std::env;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};

use easel_crds::all_crds;
use easel_tests::wait::{until, when};
use futures::FutureExt;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};

/// Installs the CRDs and runs `test` in a new namespace, which is removed afterwards.
pub async fn with_namespace<F, Fut>(name: &str, test: F)
where
    F: FnOnce(Client, String) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let _ = rustls::crypto::ring::default_provider().install_default();
    assert!(
        env::var_os("KUBECONFIG").is_some(),
        "KUBECONFIG names no cluster: run `make test`, which starts one"
    );
    let client = Client::try_default().await.expect("KUBECONFIG can be used");
    install_crds(&client).await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let object: Namespace = serde_json::from_value(serde_json::json!({
        "metadata": {"name": format!("t-{name}-{}", hex::encode(rand::random::<[u8; 3]>()))}
    }))
    .expect("a namespace");
    let namespace =
        namespaces.create(&PostParams::default(), &object).await.expect("a new namespace").name_any();
    let outcome = AssertUnwindSafe(test(client, namespace.clone())).catch_unwind().await;
    let deleted = namespaces.delete(&namespace, &DeleteParams::default()).await;
    match outcome {
        Err(panic) => resume_unwind(panic),
        Ok(result) => result.expect("the test's steps succeed"),
    }
    deleted.expect("the test's namespace can be deleted");
}

async fn install_crds(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply("easel-tests").force();
    for crd in all_crds() {
        let name = crd.name_any();
        api.patch(&name, &params, &Patch::Apply(&crd)).await.expect("the API server accepts the CRD");
        until(&format!("CRD {name} to be established"), 30, || async {
            let found = api.get(&name).await?;
            let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
            when(conditions, |all| {
                all.iter().any(|one| one.type_ == "Established" && one.status == "True")
                    && !all.iter().any(|one| one.type_ == "NonStructuralSchema" && one.status == "True")
            })
        })
        .await;
    }
}
