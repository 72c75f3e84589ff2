//! Reads what a Model's reconcile has to know: its Jobs, their pods, who uses it, and what it uses. Only reads, and always
//! from the API server: a cache may be older than what triggered the reconcile. The one exception is said in
//! [`users`].

use easel_crds::Model;
use easel_crds::common::KindRef;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ServiceAccount};

use super::inputs::{Input, inputs};
use super::training::{Training, training};
use super::users::users;
use crate::children::{Children, Owner, list};
use crate::context::Ctx;
use crate::error::Error;

/// What was found.
#[derive(Clone, Debug)]
pub struct References {
    pub service_accounts: Children<ServiceAccount>,
    pub jobs: Children<Job>,
    /// Volumes that imports of this Model work on; only looked for where imports have such.
    pub work_volumes: Children<PersistentVolumeClaim>,
    pub pods: Vec<Pod>,
    /// What uses this Model, by kind and name.
    pub users: Vec<KindRef>,
    /// What this Model is merged from.
    pub inputs: Vec<Input>,
    /// What the TrainingJob that makes this Model has come to.
    pub training: Option<Training>,
}

/// Reads all of it.
///
/// # Errors
/// [`Error::Read`].
pub async fn dereference(model: &Model, owner: &Owner, ctx: &Ctx) -> Result<References, Error> {
    let client = &ctx.client;
    let work_volumes = async {
        match &ctx.settings.import_volume {
            Some(_) => list(client, owner).await,
            None => Ok(Children { live: Vec::new() }),
        }
    };
    let (service_accounts, jobs, work_volumes, users, inputs, training) = tokio::try_join!(
        list(client, owner),
        list(client, owner),
        work_volumes,
        users(owner, client, &ctx.models),
        inputs(model, owner, client),
        training(model, owner, client)
    )?;
    // After the Jobs: a Job that has ended was read, so its pod is read with its last words.
    let pods = list::<Pod>(client, owner).await?;
    Ok(References { service_accounts, jobs, work_volumes, pods: pods.live, users, inputs, training })
}
