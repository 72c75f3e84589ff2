//! Makes the client that the controllers use.

use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};

use super::{CountLayer, FaultLayer, FenceLayer};

/// Longest wait for a connection to the API server; a reconcile has its own limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client from the pod's ServiceAccount or the user's kubeconfig, with our layers around it. From the
/// outside in: fence, faults, count, then kube's own retries of 429, 503 and 504.
///
/// # Errors
/// There is no usable configuration, or its certificates cannot be read.
pub async fn connect(fence: FenceLayer, faults: FaultLayer, count: CountLayer) -> anyhow::Result<Client> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&count).with_layer(&faults).with_layer(&fence).build())
}
