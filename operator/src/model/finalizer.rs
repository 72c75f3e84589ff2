//! Keeps a Model that is being deleted until nobody uses it. The finalizer is on the Model exactly while
//! something uses it: a Model without users goes at once, also when no operator runs.
//!
//! The bytes are not deleted here. The operator has no access to the object store; the facade's collector
//! finds what no Model names any more.

use easel_crds::Model;
use easel_crds::common::KindRef;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use super::derive_status::{IN_USE, waiting};
use super::update_status::update_status;
use super::users::users_now;
use crate::children::Owner;
use crate::conditions::{RECONCILING, find};
use crate::context::Ctx;
use crate::error::Error;
use crate::events::{self, Change};
use crate::labels::{Component, FIELD_MANAGER, MODEL_FINALIZER};

/// One look at a Model that is to be deleted: lets it go, or says for whom it waits.
///
/// # Errors
/// What failed. It is tried again, as nobody else takes the finalizer away.
pub async fn release(model: &Model, ctx: &Ctx, now: Timestamp) -> Result<Action, Error> {
    if !is_held(model) {
        return Ok(Action::await_change());
    }
    let owner = Owner::of(model, Component::Import).ok_or(Error::Unstored)?;
    let users = users_now(&owner, &ctx.client).await?;
    if users.is_empty() {
        hold(&ctx.client, model, false).await?;
        return Ok(Action::await_change());
    }
    let message = waits_for(&users);
    update_status(ctx, model, waiting(model, users, &message, now)).await?;
    let conditions = model.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let told = find(conditions, RECONCILING).is_some_and(|c| c.reason == IN_USE && c.message == message);
    if !told {
        let change = Change { warning: false, reason: IN_USE.to_owned(), note: message };
        events::publish(ctx, "Model", &model.object_ref(&()), &[change]).await;
    }
    Ok(ctx.resync())
}

/// Sets or removes the finalizer, if it has to change. The resource version guards the list that is written:
/// somebody else's finalizer is neither lost nor brought back.
///
/// # Errors
/// [`Error::Apply`].
pub async fn hold(client: &Client, model: &Model, wanted: bool) -> Result<(), Error> {
    if is_held(model) == wanted {
        return Ok(());
    }
    let name = model.name_any();
    let namespace = model.namespace().ok_or(Error::Unstored)?;
    let mut finalizers = model.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != MODEL_FINALIZER);
    if wanted {
        finalizers.push(MODEL_FINALIZER.to_owned());
    }
    let patch = json!({"metadata": {
        "uid": model.uid(), "resourceVersion": model.resource_version(), "finalizers": finalizers,
    }});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let api = Api::<Model>::namespaced(client.clone(), &namespace);
    match api.patch_metadata(&name, &params, &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        // Gone meanwhile, and the finalizer with it.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => {
            Err(Error::Apply { what: format!("the finalizer of Model {name}"), source: source.into() })
        }
    }
}

fn is_held(model: &Model) -> bool {
    model.finalizers().iter().any(|finalizer| finalizer == MODEL_FINALIZER)
}

/// Users that are named in a sentence; `status.usedBy` has more of them.
const NAMED: usize = 8;

fn waits_for(users: &[KindRef]) -> String {
    let named: Vec<String> =
        users.iter().take(NAMED).map(|user| format!("{} {}", user.kind, user.name)).collect();
    let rest = match users.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("is deleted once nothing uses it; it is used by {}{rest}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_the_users_and_stays_short() {
        let user = |n: usize| KindRef { kind: "Endpoint".into(), name: format!("e{n}") };
        let two: Vec<KindRef> = (0..2).map(user).collect();
        assert_eq!(
            waits_for(&two),
            "is deleted once nothing uses it; it is used by Endpoint e0, Endpoint e1"
        );
        let many: Vec<KindRef> = (0..20).map(user).collect();
        assert!(waits_for(&many).ends_with("Endpoint e7 and 12 more"), "{}", waits_for(&many));
    }
}
