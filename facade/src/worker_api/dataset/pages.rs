//! The pictures of a Dataset, a page at a time.

use axum::Json;
use axum::extract::State;
use easel_protocol::dataset::{ITEMS_PER_PAGE, Item, ItemsPage, ItemsRequest};
use easel_store::objects::{Audience, ResponseHeaders};

use crate::app::App;
use crate::catalog::{DatasetView, ItemView};
use crate::datasets::{self, ItemsError};
use crate::worker_api::error::WorkerError;
use crate::worker_api::identity::{Checker, DatasetReader};
use crate::worker_api::json::WorkerJson;
use crate::worker_api::models::URL_LIFE;
use crate::worker_api::training::own_training;

/// A checker gets all pictures of its Dataset, a trainer the enabled ones of those that its TrainingJob names.
pub(super) async fn items(
    reader: DatasetReader,
    State(app): State<App>,
    WorkerJson(ItemsRequest { dataset, offset }): WorkerJson<ItemsRequest>,
) -> Result<Json<ItemsPage>, WorkerError> {
    let (dataset, all) = readable(&app, reader, dataset)?;
    let items = datasets::items(&app, &dataset).await.map_err(refused)?;
    let wanted = |item: &&ItemView| all || item.enabled;
    let total = items.iter().filter(wanted).count();
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let mut page = Vec::new();
    for item in items.iter().filter(wanted).skip(offset).take(ITEMS_PER_PAGE) {
        page.push(sign(&app, &dataset, item).await?);
    }
    Ok(Json(ItemsPage { items: page, total: total as u64 }))
}

/// The Dataset, and whether the reader gets disabled pictures too.
fn readable(app: &App, reader: DatasetReader, name: String) -> Result<(DatasetView, bool), WorkerError> {
    match reader {
        DatasetReader::Checker(checker) if checker.dataset == name => Ok((own_dataset(app, &checker)?, true)),
        DatasetReader::Checker(Checker { dataset: own, .. }) => Err(WorkerError::OtherDataset {
            job: format!("the checker of Dataset {own}"),
            dataset: shown(&name),
        }),
        DatasetReader::Trainer(trainer) => {
            let job = own_training(app, &trainer)?;
            if !job.uses_dataset(&name) {
                let dataset = shown(&name);
                return Err(WorkerError::OtherDataset { job: format!("TrainingJob {}", job.name), dataset });
            }
            let found = app.directory.dataset(&job.namespace, &name);
            let found = found.filter(|dataset| dataset.enabled).ok_or_else(|| WorkerError::NotNow {
                reason: "WaitingForDataset",
                message: format!("Dataset {}/{name} is not there or not Enabled", job.namespace),
            })?;
            Ok((found, false))
        }
    }
}

fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// The Dataset of a checker.
pub(super) fn own_dataset(app: &App, checker: &Checker) -> Result<DatasetView, WorkerError> {
    if !app.directory.training_known() {
        return Err(WorkerError::NotSynced);
    }
    let Checker { namespace, dataset } = checker;
    app.directory.dataset(namespace, dataset).ok_or_else(|| WorkerError::NotKnown {
        kind: "Dataset",
        namespace: namespace.clone(),
        name: dataset.clone(),
    })
}

fn refused(error: ItemsError) -> WorkerError {
    match error {
        ItemsError::Objects { source, .. } => WorkerError::Objects { source },
        error => WorkerError::NotNow { reason: error.reason(), message: error.sentence() },
    }
}

async fn sign(app: &App, dataset: &DatasetView, item: &ItemView) -> Result<Item, WorkerError> {
    let key = datasets::key(dataset, item).map_err(refused)?;
    let url = app.objects.presign_get(&key, &Audience::Worker, URL_LIFE, &ResponseHeaders::default()).await?;
    Ok(Item {
        name: item.name.clone(),
        url: url.into_string(),
        sha256: item.sha256.clone(),
        size_bytes: item.size_bytes,
        caption: item.caption.clone(),
        enabled: item.enabled,
    })
}
