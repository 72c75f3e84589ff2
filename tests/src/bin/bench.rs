//! The cluster's figures of `make bench`: time to a ready endpoint and to a picture, the operator's
//! reconciles and its writes for idle objects, memory of operator and facade.

use std::time::{Duration, Instant};

use anyhow::Context;
use easel_tests::tenant::{Tenant, with_tenant};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

/// Objects that are made at once to see how fast the operator works through them.
const OBJECTS: usize = 100;
/// Without a change for this long, an idle object must cost nothing.
const IDLE: Duration = Duration::from_secs(60);
/// Pictures that are timed one after the other.
const PICTURES: usize = 10;

#[tokio::main]
async fn main() {
    with_tenant("bench", async |tenant| {
        endpoint_and_picture(&tenant).await?;
        operator(&tenant).await?;
        for (component, port, limit) in [("operator", 8080, 40), ("facade", 8081, 80)] {
            let metrics = metrics(&tenant, component, port).await?;
            let megabytes = sum(&metrics, "process_resident_memory_bytes") / 1e6;
            println!("{component} resident memory: {megabytes:.1} MB (goal: at most {limit})");
        }
        Ok(())
    })
    .await;
}

async fn endpoint_and_picture(tenant: &Tenant) -> anyhow::Result<()> {
    let start = Instant::now();
    tenant.serve_demo(1).await?;
    println!(
        "apply of Model and Endpoint, upload, import, pod: Ready after {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let second = "{apiVersion: easel.dev/v1alpha1, kind: Endpoint, metadata: {name: second}, \
                  spec: {device: Cpu, models: [{name: easel-demo}], resources: {requests: {cpu: 50m}}}}";
    tenant.apply(second).await?;
    tenant.wait_ready("Endpoint", "second", 60).await;
    println!("apply of an Endpoint whose Model is Ready: Ready after {:.1} s", start.elapsed().as_secs_f64());
    let mut seconds = Vec::new();
    for seed in 0..PICTURES {
        let start = Instant::now();
        let id = tenant.rest.submit("demo", "a red circle on a blue background", 25, seed as u32).await?;
        let job = tenant.rest.finished(&id, 60).await?;
        anyhow::ensure!(job["status"] == "succeed", "{job}");
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        "POST to picture (64 × 64, 25 steps), {PICTURES} one after the other: median {:.2} s, {:.2} to {:.2}",
        seconds[PICTURES / 2],
        seconds[0],
        seconds[PICTURES - 1]
    );
    Ok(())
}

async fn operator(tenant: &Tenant) -> anyhow::Result<()> {
    let before = metrics(tenant, "operator", 8080).await?;
    let start = Instant::now();
    let names: Vec<String> = (0..OBJECTS).map(|i| format!("idle-{i}")).collect();
    try_join_all(names.iter().map(|name| async move {
        tenant
            .apply(&format!(
                "{{apiVersion: easel.dev/v1alpha1, kind: Endpoint, metadata: {{name: {name}}}, \
                 spec: {{device: Cpu, modelPolicy: Namespace, suspend: true}}}}"
            ))
            .await
    }))
    .await?;
    for name in &names {
        tenant
            .wait_for("Endpoint", name, "is observed", 120, |object| {
                object.data["status"]["observedGeneration"].is_i64()
            })
            .await;
    }
    let elapsed = start.elapsed().as_secs_f64();
    let after = metrics(tenant, "operator", 8080).await?;
    let reconciles =
        sum(&after, "easel_operator_reconciles_total") - sum(&before, "easel_operator_reconciles_total");
    println!("{OBJECTS} Endpoints at once: {elapsed:.1} s, {:.0} reconciles/s", reconciles / elapsed);
    settle(tenant).await?;
    let quiet = metrics(tenant, "operator", 8080).await?;
    tokio::time::sleep(IDLE).await;
    let still = metrics(tenant, "operator", 8080).await?;
    let writes =
        sum(&still, "easel_operator_object_writes_total") - sum(&quiet, "easel_operator_object_writes_total");
    println!("API writes for {OBJECTS} idle Endpoints in {} s: {writes:.0}", IDLE.as_secs());
    Ok(())
}

/// Waits until the operator has written nothing for five seconds.
async fn settle(tenant: &Tenant) -> anyhow::Result<()> {
    let mut last = -1.0;
    for _ in 0..24 {
        let now = writes(&metrics(tenant, "operator", 8080).await?);
        if now == last {
            return Ok(());
        }
        last = now;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    anyhow::bail!("the operator still writes after two minutes")
}

/// The metrics page of the component's first pod, through the API server.
async fn metrics(tenant: &Tenant, component: &str, port: u16) -> anyhow::Result<String> {
    let pods: Api<Pod> = Api::namespaced(tenant.client.clone(), &tenant.release_namespace);
    let selector = format!("app.kubernetes.io/component={component}");
    let list = pods.list(&ListParams::default().labels(&selector)).await?;
    let pod = list.items.first().with_context(|| format!("no pod with {selector}"))?;
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}:{port}/proxy/metrics",
        tenant.release_namespace,
        pod.name_any()
    );
    let request = http::Request::get(path).body(Vec::new())?;
    Ok(tenant.client.request_text(request).await?)
}

/// The operator's writes, without those that renew its own lease.
fn writes(page: &str) -> f64 {
    let others: String = page
        .lines()
        .filter(|line| !line.contains("resource=\"leases\""))
        .map(|line| format!("{line}\n"))
        .collect();
    sum(&others, "easel_operator_api_writes_total")
}

/// Sum over all series of a metric.
fn sum(page: &str, name: &str) -> f64 {
    page.lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
