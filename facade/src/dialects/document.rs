//! The file about a job's results that a dialect keeps beside the pictures.

use bytes::Bytes;
use easel_store::jobs::{CompletionRecord, Job};

use super::aws;

/// A file that is stored before a job counts as succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name in the job's result folder.
    pub name: String,
    pub body: Bytes,
    pub content_type: &'static str,
}

/// What the dialect that took the job wants stored; `None` if nothing.
pub fn result_document(job: &Job, record: &CompletionRecord) -> Option<Document> {
    match job.dialect.as_str() {
        aws::DIALECT => Some(aws::result_document(job, record)),
        _ => None,
    }
}
