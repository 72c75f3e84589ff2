//! The calls of trainers and of the checkers of Datasets.

use std::time::Duration;

use easel_protocol::dataset::{
    DATASET_ITEMS_PATH, DATASET_REPORT_PATH, ItemsPage, ItemsRequest, ReportPlan, ReportRequest,
};
use easel_protocol::import::{StoreDone, StorePlan, StoreRequest};
use easel_protocol::training::{
    CHECKPOINT_PATH, CLAIM_TRAINING_PATH, COMPLETE_CHECKPOINT_PATH, COMPLETE_SAMPLES_PATH,
    COMPLETE_TRAINED_PATH, CheckpointDone, CheckpointPlan, CheckpointRequest, SAMPLES_PATH,
    STORE_TRAINED_PATH, SamplesDone, SamplesPlan, SamplesRequest, TRAINING_PROGRESS_PATH, TrainProgress,
    TrainTask,
};

use super::client::{CALL_TIMEOUT, COMPLETE_IMPORT_TIMEOUT, Facade, parse};
use super::error::CallError;

/// A page or a task comes with an address for each of its objects, and a long list from the object store.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);

impl Facade {
    pub async fn claim_training(&self) -> Result<TrainTask, CallError> {
        let nothing = serde_json::json!({});
        let answer = self.post("claim training", CLAIM_TRAINING_PATH, &nothing, LIST_TIMEOUT).await?;
        parse("claim training", &answer.1)
    }

    pub async fn training_progress(&self, progress: &TrainProgress) -> Result<(), CallError> {
        self.post("training progress", TRAINING_PROGRESS_PATH, progress, CALL_TIMEOUT).await.map(drop)
    }

    /// Asks where the files of a checkpoint go.
    pub async fn checkpoint(&self, request: &CheckpointRequest) -> Result<CheckpointPlan, CallError> {
        let answer = self.post("checkpoint", CHECKPOINT_PATH, request, CALL_TIMEOUT).await?;
        parse("checkpoint", &answer.1)
    }

    pub async fn complete_checkpoint(&self, done: &CheckpointDone) -> Result<(), CallError> {
        let (path, timeout) = (COMPLETE_CHECKPOINT_PATH, COMPLETE_IMPORT_TIMEOUT);
        self.post("complete checkpoint", path, done, timeout).await.map(drop)
    }

    /// Asks where sample pictures go.
    pub async fn samples(&self, request: &SamplesRequest) -> Result<SamplesPlan, CallError> {
        parse("samples", &self.post("samples", SAMPLES_PATH, request, CALL_TIMEOUT).await?.1)
    }

    pub async fn complete_samples(&self, done: &SamplesDone) -> Result<(), CallError> {
        self.post("complete samples", COMPLETE_SAMPLES_PATH, done, CALL_TIMEOUT).await.map(drop)
    }

    /// Asks where the result goes.
    pub async fn store_trained(&self, request: &StoreRequest) -> Result<StorePlan, CallError> {
        let answer = self.post("store training", STORE_TRAINED_PATH, request, CALL_TIMEOUT).await?;
        parse("store training", &answer.1)
    }

    pub async fn complete_trained(&self, done: &StoreDone) -> Result<(), CallError> {
        let timeout = COMPLETE_IMPORT_TIMEOUT;
        self.post("complete training", COMPLETE_TRAINED_PATH, done, timeout).await.map(drop)
    }

    /// A page of a Dataset's pictures.
    pub async fn dataset_items(&self, request: &ItemsRequest) -> Result<ItemsPage, CallError> {
        let answer = self.post("dataset items", DATASET_ITEMS_PATH, request, LIST_TIMEOUT).await?;
        parse("dataset items", &answer.1)
    }

    /// Asks where the report of a check goes.
    pub async fn dataset_report(&self, request: &ReportRequest) -> Result<ReportPlan, CallError> {
        parse(
            "dataset report",
            &self.post("dataset report", DATASET_REPORT_PATH, request, CALL_TIMEOUT).await?.1,
        )
    }
}
