//! Writes an Endpoint's status if it differs, and tells of it by events.

use easel_crds::{Endpoint, EndpointStatus};
use kube::Resource;

use crate::context::Ctx;
use crate::error::Error;
use crate::events::{self, Told};
use crate::objects::write_status;

/// # Errors
/// [`Error::Status`].
pub async fn update_status(ctx: &Ctx, endpoint: &Endpoint, new: EndpointStatus) -> Result<(), Error> {
    let old = endpoint.status.clone().unwrap_or_default();
    if ours(&old) == new && endpoint.status.is_some() {
        return Ok(());
    }
    write_status(&ctx.client, endpoint, &new).await?;
    let before = Told { conditions: &old.conditions, failure: old.last_failure.as_ref() };
    let after = Told { conditions: &new.conditions, failure: new.last_failure.as_ref() };
    events::publish(ctx, "Endpoint", &endpoint.object_ref(&()), &events::changes(before, after)).await;
    Ok(())
}

/// The part of a status that this operator writes; what workers hold is the facade's to say.
pub(super) fn ours(status: &EndpointStatus) -> EndpointStatus {
    EndpointStatus {
        queue: None,
        performance: None,
        scaling_history: Vec::new(),
        models: Vec::new(),
        ..status.clone()
    }
}
