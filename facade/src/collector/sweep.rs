//! One look at every object.

use std::collections::BTreeMap;

use easel_store::jobs::{JobStore, Sha256, StoreError};
use easel_store::objects::{Listed, ObjectError, ObjectKey, ObjectStore};
use jiff::{SignedDuration, Timestamp};

use super::place::{FOLDERS, Kind, MODELS, Place, claim_key};
use super::references::{References, dataset_names, names, training_names};
use crate::catalog::{Cluster, ClusterError, Directory};
use crate::config::GcConfig;

/// Objects that are looked at together, and held in memory.
const PAGE: u32 = 500;

/// What a look needs.
#[derive(Clone, Copy)]
pub struct Collector<'a> {
    pub objects: &'a dyn ObjectStore,
    pub jobs: &'a JobStore,
    pub cluster: &'a dyn Cluster,
    /// The watches, where there are any: asked once more before each deletion.
    pub directory: Option<&'a Directory>,
    /// Namespaces whose Models can be seen; none means all.
    pub namespaces: &'a [String],
    pub config: &'a GcConfig,
}

/// An object that nothing needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    pub key: String,
    pub kind: Kind,
    pub size: u64,
    pub age: SignedDuration,
    pub deleted: bool,
}

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Objects and bytes that were left there, by kind.
    pub left: BTreeMap<Kind, (u64, u64)>,
    /// Objects and bytes that were deleted.
    pub deleted: BTreeMap<Kind, (u64, u64)>,
    /// Weights that no Model of the watched namespaces has; those of others cannot be seen.
    pub unseen: u64,
}

/// Why a look ended early. What it has deleted by then was deleted rightly.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(
        "there is no Model, but objects of Models are in the store: nothing is deleted, in case they cannot be \
         seen; if that is right, the next look deletes them, or `easel-facade gc --delete --no-models` at once"
    )]
    NoModels,
    #[error("the watches of Models, TrainingJobs and Datasets are not complete yet")]
    NotSynced,
    #[error("cannot use the object store")]
    Objects(#[from] ObjectError),
    #[error("cannot read the Models, TrainingJobs and Datasets")]
    Cluster(#[from] ClusterError),
    #[error("cannot look for jobs that need a checkpoint")]
    Jobs(#[from] StoreError),
}

impl SweepError {
    /// Stable CamelCase word, of the metrics too.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoModels => "NoModels",
            Self::NotSynced => "NotSynced",
            Self::Objects(_) => "ObjectStoreFailed",
            Self::Cluster(_) => "ApiServerFailed",
            Self::Jobs(_) => "JobStoreFailed",
        }
    }

    /// Does looking again later make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::NoModels | Self::NotSynced | Self::Cluster(_) | Self::Jobs(_) => true,
            Self::Objects(error) => error.retriable(),
        }
    }
}

struct Candidate {
    key: ObjectKey,
    place: Place,
    size: u64,
    age: SignedDuration,
}

/// One look at one folder.
struct Look<'a> {
    folder: &'static str,
    /// As it was before anything was listed.
    first: &'a References,
    /// The last look saw Models, or there was none.
    gone: bool,
    delete: bool,
    now: Timestamp,
}

impl Look<'_> {
    /// How many objects were seen that could name something in this folder. None at all is what a wrong cluster and
    /// a lost permission look like too.
    fn seen(&self, references: &References) -> u64 {
        if self.folder == MODELS { references.models } else { references.objects }
    }
}

impl Collector<'_> {
    /// Shows every orphan, after deleting it if it is to be. `models_before` is the number of Models that the last
    /// look saw, `None` before the first; it is kept for the next one.
    ///
    /// # Errors
    /// [`SweepError`]
    pub async fn sweep(
        &self,
        delete: bool,
        models_before: &mut Option<u64>,
        now: Timestamp,
        show: &mut (dyn FnMut(&Orphan) + Send),
    ) -> Result<Figures, SweepError> {
        // Only to spare work: what is named now is no candidate. What decides is read after each list.
        let first = self.references().await?;
        let gone = *models_before != Some(0);
        *models_before = Some(first.models);
        let mut figures = Figures::default();
        for folder in FOLDERS {
            let look = Look { folder, first: &first, gone, delete, now };
            self.folder(&look, &mut figures, show).await?;
        }
        Ok(figures)
    }

    async fn folder(
        &self,
        look: &Look<'_>,
        figures: &mut Figures,
        show: &mut (dyn FnMut(&Orphan) + Send),
    ) -> Result<(), SweepError> {
        let mut after = None::<String>;
        loop {
            let page = self.objects.list(look.folder, after.as_deref(), PAGE).await?;
            let mut found: Vec<Candidate> =
                page.objects.iter().filter_map(|listed| self.candidate(listed, look.now)).collect();
            found.retain(|candidate| !look.first.name(candidate.key.as_str()));
            let suspicious = look.gone && look.seen(look.first) == 0;
            if suspicious && found.iter().any(|candidate| candidate.place != Place::Claim) {
                return Err(SweepError::NoModels);
            }
            if !found.is_empty() {
                let named = self.references().await?;
                if look.seen(&named) == 0 && look.seen(look.first) > 0 {
                    return Err(SweepError::NoModels);
                }
                found.retain(|candidate| !named.name(candidate.key.as_str()));
            }
            for candidate in found {
                self.collect(candidate, look.delete, look.now, figures, show).await?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn references(&self) -> Result<References, SweepError> {
        let mut references = References::default();
        self.cluster.each_model(self.namespaces, &mut |model| references.add(model)).await?;
        self.cluster.each_training(self.namespaces, &mut |job| references.add_training(job)).await?;
        self.cluster.each_dataset(self.namespaces, &mut |dataset| references.add_dataset(dataset)).await?;
        Ok(references)
    }

    /// An object of a kind that is collected, old enough. Without a time it is never old enough.
    fn candidate(&self, listed: &Listed, now: Timestamp) -> Option<Candidate> {
        let age = now.duration_since(listed.modified?);
        if age < self.grace() {
            return None;
        }
        let place = Place::of(&listed.key)?;
        let hidden = |namespace: &String| !self.namespaces.is_empty() && !self.namespaces.contains(namespace);
        if place.namespace().is_some_and(hidden) {
            return None;
        }
        Some(Candidate { key: listed.key.parse().ok()?, place, size: listed.size, age })
    }

    fn grace(&self) -> SignedDuration {
        SignedDuration::try_from(self.config.grace).unwrap_or(SignedDuration::MAX)
    }

    async fn collect(
        &self,
        candidate: Candidate,
        delete: bool,
        now: Timestamp,
        figures: &mut Figures,
        show: &mut (dyn FnMut(&Orphan) + Send),
    ) -> Result<(), SweepError> {
        let Candidate { key, place, size, age } = candidate;
        if let Place::Weights(hash) = &place {
            if !self.namespaces.is_empty() && !self.config.sole_user {
                figures.unseen += 1;
                return Ok(());
            }
            if self.is_counted_on(hash, now).await? {
                return Ok(());
            }
        }
        if self.is_watched(&key)? {
            return Ok(());
        }
        // Stored anew since it was listed.
        if self.age(&key, now).await?.is_none_or(|age| age < self.grace()) {
            return Ok(());
        }
        if delete {
            self.objects.delete(&key).await?;
        }
        let kind = place.kind();
        let sum = if delete { &mut figures.deleted } else { &mut figures.left };
        let (objects, bytes) = sum.entry(kind).or_default();
        *objects += 1;
        *bytes = bytes.saturating_add(size);
        show(&Orphan { key: key.as_str().to_owned(), kind, size, age, deleted: delete });
        Ok(())
    }

    /// Has an import claimed the weights, or does a job need them?
    async fn is_counted_on(&self, hash: &Sha256, now: Timestamp) -> Result<bool, SweepError> {
        let claimed = self.age(&claim_key(hash), now).await?.is_some_and(|age| age < self.grace());
        Ok(claimed || self.jobs.is_wanted(hash).await?)
    }

    /// Does an object name it that the watches have seen?
    fn is_watched(&self, key: &ObjectKey) -> Result<bool, SweepError> {
        let Some(directory) = self.directory else { return Ok(false) };
        if !directory.objects_known() || !directory.training_known() {
            return Err(SweepError::NotSynced);
        }
        let key = key.as_str();
        Ok(directory.any_model(|model| names(model, key))
            || directory.any_training(|job| training_names(job, key))
            || directory.any_dataset(|dataset| dataset_names(dataset, key)))
    }

    /// How old the object is; `None` when it is not there, or the service does not say.
    async fn age(&self, key: &ObjectKey, now: Timestamp) -> Result<Option<SignedDuration>, SweepError> {
        // A key comes before all others that begin with it.
        let page = self.objects.list(key.as_str(), None, 1).await?;
        let found = page.objects.into_iter().find(|listed| listed.key == key.as_str());
        Ok(found.and_then(|listed| listed.modified).map(|modified| now.duration_since(modified)))
    }
}
