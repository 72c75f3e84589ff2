//! Writes a Model's status if it differs, and tells of it by events.

use easel_crds::model::ImportStatus;
use easel_crds::{Model, ModelStatus};
use kube::Resource;

use crate::context::Ctx;
use crate::error::Error;
use crate::events::{self, Told};
use crate::objects::write_status;

/// # Errors
/// [`Error::Status`].
pub async fn update_status(ctx: &Ctx, model: &Model, new: ModelStatus) -> Result<(), Error> {
    let old = model.status.clone().unwrap_or_default();
    if ours(&old) == new && model.status.is_some() {
        return Ok(());
    }
    write_status(&ctx.client, model, &new).await?;
    let before = Told { conditions: &old.conditions, failure: old.last_failure.as_ref() };
    let after = Told { conditions: &new.conditions, failure: new.last_failure.as_ref() };
    events::publish(ctx, "Model", &model.object_ref(&()), &events::changes(before, after)).await;
    Ok(())
}

/// The part of a status that this operator writes: the facade reports the bytes of an import.
fn ours(status: &ModelStatus) -> ModelStatus {
    let import = status.import.as_ref().map(|import| ImportStatus {
        job: import.job.clone(),
        attempts: import.attempts,
        ..ImportStatus::default()
    });
    let import = import.filter(|import| *import != ImportStatus::default());
    ModelStatus { import, ..status.clone() }
}
