//! Writes a TrainingJob's status if it differs, and tells of it by events.

use easel_crds::{TrainingJob, TrainingJobStatus};
use kube::Resource;

use super::derive_status::ours;
use crate::context::Ctx;
use crate::error::Error;
use crate::events::{self, Told};
use crate::objects::write_status;

/// # Errors
/// [`Error::Status`].
pub async fn update_status(ctx: &Ctx, training: &TrainingJob, new: TrainingJobStatus) -> Result<(), Error> {
    let old = training.status.clone().unwrap_or_default();
    if ours(&old) == new && training.status.is_some() {
        return Ok(());
    }
    write_status(&ctx.client, training, &new).await?;
    let before = Told { conditions: &old.conditions, failure: old.last_failure.as_ref() };
    let after = Told { conditions: &new.conditions, failure: new.last_failure.as_ref() };
    events::publish(ctx, "TrainingJob", &training.object_ref(&()), &events::changes(before, after)).await;
    Ok(())
}
