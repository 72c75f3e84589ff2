//! How far a run is.

use axum::extract::State;
use easel_crds::training_job::TrainingJobStatus;
use easel_protocol::training::TrainProgress;
use http::StatusCode;

use super::claim::own_training;
use crate::app::App;
use crate::catalog::{StatusPart, TrainingState};
use crate::worker_api::error::WorkerError;
use crate::worker_api::identity::Trainer;
use crate::worker_api::json::WorkerJson;

/// Writes it into the TrainingJob's status.
pub(super) async fn progress(
    trainer: Trainer,
    State(app): State<App>,
    WorkerJson(progress): WorkerJson<TrainProgress>,
) -> Result<StatusCode, WorkerError> {
    let job = own_training(&app, &trainer)?;
    // A late word of a run that is over would say that it goes on.
    if matches!(job.state, TrainingState::Held | TrainingState::Going) {
        let status = status(&progress);
        app.cluster.report_training(&job.namespace, &job.name, StatusPart::Progress, &status).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn status(progress: &TrainProgress) -> TrainingJobStatus {
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    // 0 before they are known.
    let known = progress.total_steps > 0;
    // The schema has integers of 64 bits with a sign.
    let signed = |number: u64| number.min(i64::MAX as u64);
    TrainingJobStatus {
        stage: Some(progress.stage.as_str().to_owned()),
        stage_done: Some(signed(progress.done)),
        stage_total: Some(signed(progress.total)),
        step: known.then(|| small(progress.step)),
        total_steps: known.then(|| small(progress.total_steps)),
        epoch: known.then_some(progress.epoch),
        loss: progress.loss.and_then(decimal),
        milli_seconds_per_step: progress.milli_seconds_per_step.map(signed),
        eta_seconds: progress.eta_seconds.map(signed),
        ..TrainingJobStatus::default()
    }
}

/// As the schema writes decimals; `None` for what it has no word for: no number, below 0, out of range.
fn decimal(number: f64) -> Option<String> {
    if !(0.0..1e99).contains(&number) {
        return None;
    }
    if number < 1e-99 {
        return Some("0".to_owned());
    }
    Some(if (1e-3..1e6).contains(&number) { format!("{number:.5}") } else { format!("{number:.4e}") })
}

#[cfg(test)]
mod tests {
    use easel_protocol::training::TrainStage;

    use super::*;

    #[test]
    fn a_loss_fits_the_schema_or_is_left_out() {
        let cases = [
            (0.123_456_789, Some("0.12346")),
            (0.0, Some("0")),
            (1e-200, Some("0")),
            (1.5e-7, Some("1.5000e-7")),
            (12_345_678.0, Some("1.2346e7")),
            (999_999.999_99, Some("999999.99999")),
            (f64::NAN, None),
            (f64::INFINITY, None),
            (-1.0, None),
            (1e200, None),
        ];
        for (number, want) in cases {
            let got = decimal(number);
            assert_eq!(got.as_deref(), want, "{number}");
            assert!(got.is_none_or(|text| text.len() <= 16), "{number}");
        }
    }

    #[test]
    fn steps_are_said_once_they_are_known() {
        let mut progress = TrainProgress { stage: TrainStage::Encoding, done: 3, ..TrainProgress::default() };
        let early = status(&progress);
        assert_eq!((early.stage.as_deref(), early.stage_done, early.step), (Some("Encoding"), Some(3), None));
        progress.total_steps = u64::MAX;
        progress.eta_seconds = Some(u64::MAX);
        let late = status(&progress);
        assert_eq!(
            (late.step, late.total_steps, late.eta_seconds),
            (Some(0), Some(u32::MAX), Some(i64::MAX as u64))
        );
    }
}
