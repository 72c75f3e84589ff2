//! Pictures of a Dataset, as its checker and trainers get them, and what the checker leaves in its
//! termination message.
//!
//! | call | answers |
//! |---|---|
//! | `POST /worker/v1/dataset/items` [`ItemsRequest`] | 200 [`ItemsPage`]; 409 when the Dataset cannot be read |
//! | `POST /worker/v1/dataset/report` [`ReportRequest`] | 200 [`ReportPlan`]: where the report goes |
//!
//! A checker sees its own Dataset with all pictures; a trainer the Datasets of its TrainingJob, of which it gets the
//! enabled pictures. Both calls may be repeated.

use serde::{Deserialize, Serialize};

use crate::FailureReport;

pub const DATASET_ITEMS_PATH: &str = "/worker/v1/dataset/items";
pub const DATASET_REPORT_PATH: &str = "/worker/v1/dataset/report";

/// Pictures in one answer, at most.
pub const ITEMS_PER_PAGE: usize = 256;
/// Problems that a termination message names, at most; with names of 128 bytes they fit its 4096.
pub const MAX_PROBLEMS: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemsRequest {
    /// Name of the Dataset.
    pub dataset: String,
    /// How many pictures the caller has got already.
    pub offset: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemsPage {
    pub items: Vec<Item>,
    /// Pictures in all pages together.
    pub total: u64,
}

/// One picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// File name within the Dataset.
    pub name: String,
    /// Presigned GET.
    pub url: String,
    /// The hash that the Dataset asks for.
    pub sha256: Option<String>,
    /// The size that the Dataset asks for.
    pub size_bytes: Option<u64>,
    /// Unset: the concept's prompt.
    pub caption: Option<String>,
    pub enabled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportRequest {
    pub size_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportPlan {
    pub key: String,
    /// Presigned PUT, signed for `content-type: application/x-ndjson`.
    pub url: String,
}

/// A line of the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportLine {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<ProblemReason>,
    /// The problem in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What can be wrong with a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ProblemReason {
    /// Its bytes are not in the object store.
    Missing,
    /// Its bytes are not those that the Dataset asks for.
    HashDiffers,
    /// More bytes or pixels than training reads.
    TooLarge,
    /// Fewer pixels than training can use.
    TooSmall,
    /// It cannot be decoded.
    Unreadable,
    /// Another picture has the same bytes; training takes one of them.
    Duplicate,
}

impl ProblemReason {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "Missing",
            Self::HashDiffers => "HashDiffers",
            Self::TooLarge => "TooLarge",
            Self::TooSmall => "TooSmall",
            Self::Unreadable => "Unreadable",
            Self::Duplicate => "Duplicate",
        }
    }
}

/// The checker's termination message, as JSON: at most 4096 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckResult {
    /// Every picture was looked at; problems do not make it fail.
    Checked(CheckedDataset),
    Failed(FailureReport),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedDataset {
    /// The disabled ones included, which were not looked at.
    pub items: u32,
    pub enabled: u32,
    /// Of all pictures that were read.
    pub size_bytes: u64,
    pub missing: u32,
    /// Enabled, there, but of no use: neither missing nor duplicates.
    pub invalid: u32,
    pub duplicates: u32,
    /// The first [`MAX_PROBLEMS`], missing and invalid ones before duplicates.
    pub problems: Vec<Problem>,
    /// Key of the report.
    pub report: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub name: String,
    pub reason: ProblemReason,
}
