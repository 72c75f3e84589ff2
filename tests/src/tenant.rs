//! A namespace with a key of its own for each test, removed afterwards whatever happened.

use std::env;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};

use anyhow::Context;
use futures::FutureExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, DynamicObject, PostParams};
use kube::{Client, ResourceExt};
use sha2::{Digest, Sha256};

use crate::diagnostics;
use crate::objects::{self, condition, easel_api};
use crate::rest::Rest;
use crate::wait::{Seen, until};

/// Where the demo model's weights are.
pub const DEMO_WEIGHTS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/demo-model/easel-demo.safetensors");

/// One test's namespace.
#[derive(Clone)]
pub struct Tenant {
    pub client: Client,
    pub namespace: String,
    pub rest: Rest,
    /// Where the chart is installed.
    pub release_namespace: String,
}

/// Runs a test in a new namespace; afterwards prints why it failed, if it did, and removes the namespace.
pub async fn with_tenant<F, Fut>(name: &str, test: F)
where
    F: FnOnce(Tenant) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let tenant = Tenant::create(name).await.expect("a namespace for the test (is `make test` running this?)");
    let outcome = AssertUnwindSafe(test(tenant.clone())).catch_unwind().await;
    if !matches!(outcome, Ok(Ok(()))) {
        diagnostics::print(&tenant.client, &tenant.namespace).await;
    }
    let namespaces: Api<Namespace> = Api::all(tenant.client.clone());
    let deleted = namespaces.delete(&tenant.namespace, &DeleteParams::default()).await;
    match outcome {
        Err(panic) => resume_unwind(panic),
        Ok(result) => result.expect("the test's steps succeed"),
    }
    deleted.expect("the test's namespace can be deleted");
}

fn variable(name: &str) -> anyhow::Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: run the cluster tests by `make test`"))
}

impl Tenant {
    async fn create(name: &str) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        variable("KUBECONFIG")?;
        let client = Client::try_default().await?;
        let namespace = format!("t-{name}-{}", hex::encode(rand::random::<[u8; 3]>()));
        let object: Namespace = serde_json::from_value(serde_json::json!({
            "metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }))?;
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await?;
        let key = hex::encode(rand::random::<[u8; 32]>());
        let rest = Rest::new(&variable("EASEL_URL")?, &key)?;
        let tenant = Self { client, namespace, rest, release_namespace: variable("EASEL_NAMESPACE")? };
        let hash = hex::encode(Sha256::digest(key.as_bytes()));
        tenant
            .apply(&format!(
                "{{apiVersion: easel.dev/v1alpha1, kind: ApiKey, metadata: {{name: test}}, \
                 spec: {{keySha256: \"{hash}\", scopes: [Inference, Models, Training]}}}}"
            ))
            .await?;
        tenant.key_works().await;
        Ok(tenant)
    }

    async fn key_works(&self) {
        until("the facade to know the test's key", 20, || async {
            let reply = self.rest.get("/inference/test-connection").await?;
            Ok(if reply.status.is_success() { Seen::Done(()) } else { Seen::Waiting(reply.text) })
        })
        .await;
    }

    /// Applies an Easel object in the test's namespace.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<DynamicObject> {
        objects::apply(&self.client, &self.namespace, yaml).await
    }

    /// Waits until `holds` of the object.
    pub async fn wait_for(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        seconds: u64,
        holds: impl Fn(&DynamicObject) -> bool,
    ) -> DynamicObject {
        let api = easel_api(&self.client, &self.namespace, kind);
        until(&format!("{kind} {name} {what}"), seconds, || async {
            let object = api.get(name).await?;
            Ok(match holds(&object) {
                true => Seen::Done(object),
                false => Seen::Waiting(object.data["status"].to_string()),
            })
        })
        .await
    }

    /// Waits for the condition Ready.
    pub async fn wait_ready(&self, kind: &str, name: &str, seconds: u64) -> DynamicObject {
        self.wait_for(kind, name, "is Ready", seconds, |object| {
            condition(object, "Ready").status == "True"
                && object.data["status"]["observedGeneration"].as_i64() == object.metadata.generation
        })
        .await
    }

    /// A Model with the demo weights, uploaded and Ready, and an Endpoint `demo` serving it, Ready.
    ///
    /// # Errors
    /// When the API server or the facade refuses one of the steps.
    pub async fn serve_demo(&self, replicas: u32) -> anyhow::Result<()> {
        self.apply(&upload_model("easel-demo")).await?;
        let endpoint = format!(
            "apiVersion: easel.dev/v1alpha1\nkind: Endpoint\nmetadata: {{name: demo}}\nspec:\n  device: Cpu\n  \
             replicas: {replicas}\n  models: [{{name: easel-demo}}]\n  resources: {{requests: {{cpu: 50m, memory: 128Mi}}, limits: {{memory: 1Gi}}}}\n"
        );
        self.apply(&endpoint).await?;
        self.upload("easel-demo", tokio::fs::read(DEMO_WEIGHTS).await?).await;
        self.wait_ready("Model", "easel-demo", 60).await;
        self.wait_ready("Endpoint", "demo", 60).await;
        until("the facade to see the endpoint InService", 10, || async {
            let reply = self.rest.get("/inference/list-endpoint-deployment-jobs").await?;
            Ok(if reply.text.contains("InService") { Seen::Done(()) } else { Seen::Waiting(reply.text) })
        })
        .await;
        Ok(())
    }

    /// Uploads once the facade knows the Model.
    pub async fn upload(&self, model: &str, bytes: Vec<u8>) {
        until("the upload to be accepted", 30, || async {
            let reply = self.rest.upload(model, &format!("{model}.safetensors"), bytes.clone()).await?;
            Ok(if reply.status.is_success() { Seen::Done(()) } else { Seen::Waiting(reply.text) })
        })
        .await;
    }

    /// Names of the pods with that label.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn pods(&self, selector: &str) -> anyhow::Result<Vec<String>> {
        let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = api.list(&kube::api::ListParams::default().labels(selector)).await?;
        Ok(list.iter().map(ResourceExt::name_any).collect())
    }
}

/// A Model that waits for the upload of `{name}.safetensors`.
pub fn upload_model(name: &str) -> String {
    format!(
        "apiVersion: easel.dev/v1alpha1\nkind: Model\nmetadata: {{name: {name}}}\nspec:\n  type: Checkpoint\n  \
         displayName: {name}.safetensors\n  source: {{upload: {{files: [{{name: {name}.safetensors}}]}}}}\n"
    )
}

/// A Model that is fetched from `url`.
pub fn http_model(name: &str, url: &str) -> String {
    format!(
        "apiVersion: easel.dev/v1alpha1\nkind: Model\nmetadata: {{name: {name}}}\nspec:\n  type: Checkpoint\n  \
         source: {{http: {{url: \"{url}\"}}}}\n"
    )
}
