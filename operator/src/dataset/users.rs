//! Who uses a Dataset: the TrainingJobs that name it, as long as they are not through.

use easel_crds::common::{KindRef, condition};
use easel_crds::{Condition, TrainingJob};
use kube::api::{Api, ListParams};
use kube::{Client, Resource, ResourceExt};

use crate::children::Owner;
use crate::conditions::is_true;
use crate::error::Error;

/// Does the TrainingJob need the pictures of the Dataset of that name, now or later?
pub fn uses(training: &TrainingJob, dataset: &str) -> bool {
    let conditions: &[Condition] = training.status.as_ref().map_or(&[], |status| &status.conditions);
    let over = is_true(conditions, condition::COMPLETE) || is_true(conditions, condition::FAILED);
    let concepts = training.spec.concepts.iter();
    let mut named = concepts.flat_map(|concept| [Some(&concept.dataset), concept.class_dataset.as_ref()]);
    let leaving = training.metadata.deletion_timestamp.is_some();
    !leaving && !over && named.any(|named| named.is_some_and(|named| named.name == dataset))
}

/// Those of the Dataset's namespace, by name.
///
/// # Errors
/// [`Error::Read`].
pub async fn users(owner: &Owner, client: &Client) -> Result<Vec<KindRef>, Error> {
    let api = Api::<TrainingJob>::namespaced(client.clone(), &owner.namespace);
    let all = api.list(&ListParams::default()).await;
    let all = all.map_err(|source| Error::Read { what: "trainingjobs".to_owned(), source: source.into() })?;
    let kind = TrainingJob::kind(&()).into_owned();
    let user = |training: &TrainingJob| KindRef { kind: kind.clone(), name: training.name_any() };
    let mut users: Vec<KindRef> =
        all.items.iter().filter(|training| uses(training, &owner.name)).map(user).collect();
    users.sort();
    Ok(users)
}
