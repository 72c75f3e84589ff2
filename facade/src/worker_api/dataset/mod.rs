//! Pictures for checkers and trainers, and the checkers' reports (`easel_protocol::dataset`).

mod pages;
mod report;

use axum::Router;
use axum::routing::post;
use easel_protocol::dataset::{DATASET_ITEMS_PATH, DATASET_REPORT_PATH};

use crate::app::App;

pub(super) fn routes() -> Router<App> {
    Router::new().route(DATASET_ITEMS_PATH, post(pages::items)).route(DATASET_REPORT_PATH, post(report::plan))
}
