//! Writes a Dataset's status if it differs, and tells of it by events.

use easel_crds::{Dataset, DatasetStatus};
use kube::Resource;

use crate::context::Ctx;
use crate::error::Error;
use crate::events::{self, Told};
use crate::objects::write_status;

/// # Errors
/// [`Error::Status`].
pub async fn update_status(ctx: &Ctx, dataset: &Dataset, new: DatasetStatus) -> Result<(), Error> {
    let old = dataset.status.clone().unwrap_or_default();
    if old == new && dataset.status.is_some() {
        return Ok(());
    }
    write_status(&ctx.client, dataset, &new).await?;
    let before = Told { conditions: &old.conditions, failure: old.last_failure.as_ref() };
    let after = Told { conditions: &new.conditions, failure: new.last_failure.as_ref() };
    events::publish(ctx, "Dataset", &dataset.object_ref(&()), &events::changes(before, after)).await;
    Ok(())
}
