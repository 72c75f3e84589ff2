//! An import whose pod is killed goes on in the next pod with what it had: the release has `import.workVolume`.

use easel_tests::origin::start_origin;
use easel_tests::tenant::{Tenant, http_model, with_tenant};

use super::kill;

/// What the first pod has at least when it is killed: four whole parts of 16 MiB.
const BEFORE: u64 = 70_000_000;

/// Bytes that the origin has sent so far.
async fn sent(tenant: &Tenant) -> anyhow::Result<u64> {
    let path = format!("/api/v1/namespaces/{}/pods/origin:8000/proxy/sent", tenant.namespace);
    let text = tenant.client.request_text(http::Request::get(path).body(Vec::new())?).await?;
    Ok(text.trim().parse()?)
}

#[tokio::test]
async fn a_killed_import_goes_on_in_another_pod() {
    with_tenant("volume", async |tenant| {
        let origin = start_origin(&tenant).await?;
        tenant.apply(&http_model("big", &format!("{origin}/slow/easel-demo.safetensors"))).await?;
        tenant
            .wait_for("Model", "big", "has some parts", 60, |object| {
                object.data["status"]["import"]["bytesDone"].as_u64() >= Some(BEFORE)
            })
            .await;
        kill(&tenant.client, &tenant.namespace, "easel.dev/model=big").await?;
        let before = sent(&tenant).await?;
        let model = tenant.wait_ready("Model", "big", 120).await;
        let size = model.data["status"]["sizeBytes"].as_u64().expect("a size");
        let after = sent(&tenant).await? - before;
        assert!(after < size - BEFORE * 9 / 10, "{after} of {size} bytes were sent again, {before} before");
        Ok(())
    })
    .await;
}
