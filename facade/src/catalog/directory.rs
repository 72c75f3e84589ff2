//! The read side: what the watches have seen. Reading takes no call; a reader can wait for a change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use easel_crds::{ApiKey, Dataset, Endpoint, Model, TrainingJob};
use kube::Resource;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use super::training_views::{DatasetView, TrainingView};
use super::views::{EndpointView, KeyView, ModelView};
use super::{convert, training};

/// One kind's objects, from one watch per namespace or one for all.
struct Shelf<K: Resource + Clone + 'static>
where
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    parts: Vec<(Store<K>, Arc<AtomicBool>)>,
}

impl<K> Shelf<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    fn synced(&self) -> bool {
        self.parts.iter().all(|(_, synced)| synced.load(Ordering::Acquire))
    }

    fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::<K>::new(name).within(namespace);
        self.parts.iter().find_map(|(store, _)| store.get(&key))
    }

    fn all(&self) -> impl Iterator<Item = Arc<K>> {
        self.parts.iter().flat_map(|(store, _)| store.state())
    }
}

/// The write side of one watch.
pub struct Feed<K: Resource + Clone + 'static>
where
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    writer: reflector::store::Writer<K>,
    synced: Arc<AtomicBool>,
    changes: watch::Sender<u64>,
}

impl<K> Feed<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    /// Takes in what the watch has seen.
    pub fn apply(&mut self, event: &Event<K>) {
        self.writer.apply_watcher_event(event);
        if matches!(event, Event::InitDone) {
            self.synced.store(true, Ordering::Release);
        }
        if matches!(event, Event::Apply(_) | Event::Delete(_) | Event::InitDone) {
            self.changes.send_modify(|version| *version = version.wrapping_add(1));
        }
    }
}

/// The write sides of every watch, in the order of the namespaces given to [`Directory::new`].
pub struct Feeds {
    pub endpoints: Vec<Feed<Endpoint>>,
    pub models: Vec<Feed<Model>>,
    pub keys: Vec<Feed<ApiKey>>,
    pub trainings: Vec<Feed<TrainingJob>>,
    pub datasets: Vec<Feed<Dataset>>,
}

/// What is known of Easel's objects.
#[derive(Clone)]
pub struct Directory {
    shelves: Arc<Shelves>,
    changes: watch::Receiver<u64>,
}

struct Shelves {
    endpoints: Shelf<Endpoint>,
    models: Shelf<Model>,
    keys: Shelf<ApiKey>,
    trainings: Shelf<TrainingJob>,
    datasets: Shelf<Dataset>,
}

impl Directory {
    /// A directory that `watches` watches per kind fill.
    pub fn new(watches: usize) -> (Self, Feeds) {
        // Models and Endpoints wake long polls; the others wake nobody.
        let (changes, seen) = watch::channel(0);
        let (quiet, _) = watch::channel(0);
        let (endpoints, endpoint_feeds) = shelf(watches, &changes);
        let (models, model_feeds) = shelf(watches, &changes);
        let (keys, key_feeds) = shelf(watches, &quiet);
        let (trainings, training_feeds) = shelf(watches, &quiet);
        let (datasets, dataset_feeds) = shelf(watches, &quiet);
        let shelves = Arc::new(Shelves { endpoints, models, keys, trainings, datasets });
        let feeds = Feeds {
            endpoints: endpoint_feeds,
            models: model_feeds,
            keys: key_feeds,
            trainings: training_feeds,
            datasets: dataset_feeds,
        };
        (Self { shelves, changes: seen }, feeds)
    }

    /// Kinds whose objects are not all read yet. Not those of training: where they cannot be watched, pictures are
    /// made all the same.
    pub fn unsynced(&self) -> Vec<&'static str> {
        let Shelves { endpoints, models, keys, .. } = &*self.shelves;
        let kinds = [("Endpoint", endpoints.synced()), ("Model", models.synced()), ("ApiKey", keys.synced())];
        kinds.into_iter().filter(|(_, synced)| !synced).map(|(kind, _)| kind).collect()
    }

    /// Are the ApiKeys read?
    pub fn keys_known(&self) -> bool {
        self.shelves.keys.synced()
    }

    /// Are Endpoints and Models read?
    pub fn objects_known(&self) -> bool {
        self.shelves.endpoints.synced() && self.shelves.models.synced()
    }

    /// Are TrainingJobs and Datasets read?
    pub fn training_known(&self) -> bool {
        self.shelves.trainings.synced() && self.shelves.datasets.synced()
    }

    /// Sees each change of an Endpoint or a Model.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    pub fn endpoint(&self, namespace: &str, name: &str) -> Option<EndpointView> {
        self.shelves.endpoints.get(namespace, name).map(|object| convert::endpoint(&object))
    }

    /// Every Endpoint of a namespace, the newest first.
    pub fn endpoints(&self, namespace: &str) -> Vec<EndpointView> {
        let mut found: Vec<_> =
            self.all_endpoints().into_iter().filter(|endpoint| endpoint.namespace == namespace).collect();
        found.sort_by(|a, b| (b.created, &a.name).cmp(&(a.created, &b.name)));
        found
    }

    /// Every Endpoint of every namespace.
    pub fn all_endpoints(&self) -> Vec<EndpointView> {
        self.shelves.endpoints.all().map(|object| convert::endpoint(&object)).collect()
    }

    pub fn model(&self, namespace: &str, name: &str) -> Option<ModelView> {
        self.shelves.models.get(namespace, name).map(|object| convert::model(&object))
    }

    /// Does this hold of any Model, of whatever namespace?
    pub fn any_model(&self, holds: impl Fn(&Model) -> bool) -> bool {
        self.shelves.models.all().any(|model| holds(&model))
    }

    /// Every Model of a namespace of this type, by name.
    pub fn models(&self, namespace: &str, model_type: &str) -> Vec<ModelView> {
        let mut found: Vec<_> = self
            .shelves
            .models
            .all()
            .filter(|object| object.metadata.namespace.as_deref() == Some(namespace))
            .filter(|object| object.spec.r#type.as_str() == model_type)
            .map(|object| convert::model(&object))
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    pub fn training(&self, namespace: &str, name: &str) -> Option<TrainingView> {
        self.shelves.trainings.get(namespace, name).map(|object| training::training(&object))
    }

    /// Every TrainingJob of a namespace, the newest first.
    pub fn trainings(&self, namespace: &str) -> Vec<TrainingView> {
        let own = |object: &Arc<TrainingJob>| object.metadata.namespace.as_deref() == Some(namespace);
        let mut found: Vec<_> =
            self.shelves.trainings.all().filter(own).map(|object| training::training(&object)).collect();
        found.sort_by(|a, b| (b.created, &a.name).cmp(&(a.created, &b.name)));
        found
    }

    /// Does this hold of any TrainingJob, of whatever namespace?
    pub fn any_training(&self, holds: impl Fn(&TrainingJob) -> bool) -> bool {
        self.shelves.trainings.all().any(|job| holds(&job))
    }

    pub fn dataset(&self, namespace: &str, name: &str) -> Option<DatasetView> {
        self.shelves.datasets.get(namespace, name).map(|object| training::dataset(&object))
    }

    /// Every Dataset of a namespace, by the name that clients use.
    pub fn datasets(&self, namespace: &str) -> Vec<DatasetView> {
        let own = |object: &Arc<Dataset>| object.metadata.namespace.as_deref() == Some(namespace);
        let mut found: Vec<_> =
            self.shelves.datasets.all().filter(own).map(|object| training::dataset(&object)).collect();
        found.sort_by(|a, b| (&a.dataset_name, &a.name).cmp(&(&b.dataset_name, &b.name)));
        found
    }

    /// The Dataset that a client means by `name`: its own word for it, else the object's name.
    pub fn dataset_called(&self, namespace: &str, name: &str) -> Option<DatasetView> {
        let called = self.datasets(namespace).into_iter().find(|dataset| dataset.dataset_name == name);
        called.or_else(|| self.dataset(namespace, name))
    }

    /// Does this hold of any Dataset, of whatever namespace?
    pub fn any_dataset(&self, holds: impl Fn(&Dataset) -> bool) -> bool {
        self.shelves.datasets.all().any(|dataset| holds(&dataset))
    }

    /// Every ApiKey whose hash is one.
    pub fn keys(&self) -> Vec<KeyView> {
        self.shelves.keys.all().filter_map(|object| convert::key(&object)).collect()
    }
}

fn shelf<K>(watches: usize, changes: &watch::Sender<u64>) -> (Shelf<K>, Vec<Feed<K>>)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let (parts, feeds) = (0..watches)
        .map(|_| {
            let (store, writer) = reflector::store();
            let synced = Arc::new(AtomicBool::new(false));
            ((store, synced.clone()), Feed { writer, synced, changes: changes.clone() })
        })
        .unzip();
    (Shelf { parts }, feeds)
}
