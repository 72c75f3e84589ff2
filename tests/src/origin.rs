//! The pod with the faulty web server (`src/bin/origin.rs`) in a test's namespace.

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, PostParams};

use crate::tenant::Tenant;
use crate::wait::until;
use crate::wait::when;

/// Name of the image that `tools/test.sh` builds.
const IMAGE: &str = "localhost/easel/test-origin:test";

/// Starts the server and returns its base URL as pods see it.
///
/// # Errors
/// What the API server says.
pub async fn start_origin(tenant: &Tenant) -> anyhow::Result<String> {
    let pods: Api<Pod> = Api::namespaced(tenant.client.clone(), &tenant.namespace);
    let pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "origin", "labels": {"app": "origin"}},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "origin", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
            }],
        },
    }))?;
    pods.create(&PostParams::default(), &pod).await?;
    let services: Api<Service> = Api::namespaced(tenant.client.clone(), &tenant.namespace);
    let service = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "origin"},
        "spec": {"selector": {"app": "origin"}, "ports": [{"port": 8000}]},
    }))?;
    services.create(&PostParams::default(), &service).await?;
    until("the origin server", 30, || async {
        let phase = pods.get("origin").await?.status;
        let ready = phase
            .and_then(|status| status.container_statuses)
            .is_some_and(|all| all.iter().all(|one| one.ready));
        when(ready, |ready| *ready)
    })
    .await;
    Ok(format!("http://origin.{}.svc.cluster.local:8000", tenant.namespace))
}
