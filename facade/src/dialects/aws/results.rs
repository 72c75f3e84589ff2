//! What became of jobs: the look-ups and lists of this dialect.

use std::time::Duration;

use axum::extract::State;
use easel_protocol::Task;
use easel_protocol::worker::ImageFormat;
use easel_store::jobs::{Job, JobFilter, JobId, JobState};
use easel_store::objects::ResponseHeaders;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::error::AwsError;
use super::json::{AwsJson, AwsQuery};
use super::wire::{JobQuery, JobRecord, QueryJobs};
use super::{DIALECT, record};
use crate::app::App;
use crate::auth::Caller;
use crate::http::origin::CallerAudience;
use crate::outputs;

/// As long as the service's own URLs live.
const URL_LIFE: Duration = Duration::from_secs(3600);
/// "All" ends here: a longer list would take tens of megabytes, and nobody reads it.
const MOST_RECORDS: usize = 5000;
const PAGE: u32 = 1000;

/// `GET /inference`
pub(super) async fn about() -> AwsJson<Value> {
    AwsJson(json!({"message": "AIGC_SAGEMAKER"}))
}

/// `GET /inference/test-connection`: clients call it to test the key.
pub(super) async fn test_connection() -> AwsJson<Value> {
    AwsJson(json!({"message": "Success"}))
}

/// `GET /inference/get-inference-job`
pub(super) async fn get_job(
    State(app): State<App>,
    caller: Caller,
    AwsQuery(query): AwsQuery<JobQuery>,
) -> Result<AwsJson<JobRecord>, AwsError> {
    let id = query.job_id.filter(|id| !id.is_empty()).ok_or(AwsError::NoJobId)?;
    match find(&app, &caller, &id).await? {
        Some(job) => Ok(AwsJson(record::of(&job, &app.config.s3.bucket))),
        None => Err(AwsError::NoJob(id.chars().take(80).collect())),
    }
}

/// `GET /inference/get-inference-job-image-output`: empty until the job has succeeded. JPEG as the service
/// has them; `format=png` gives the lossless ones with their parameters.
pub(super) async fn image_output(
    State(app): State<App>,
    caller: Caller,
    CallerAudience(audience): CallerAudience,
    AwsQuery(query): AwsQuery<JobQuery>,
) -> Result<AwsJson<Vec<String>>, AwsError> {
    let format = image_format(query.format.as_deref())?;
    let job = find(&app, &caller, query.job_id.as_deref().unwrap_or_default()).await?;
    let Some(job) = job.filter(|job| job.state == JobState::Succeeded) else {
        return Ok(AwsJson(Vec::new()));
    };
    let mut urls = Vec::new();
    for name in record::image_names(&job, format) {
        let headers = ResponseHeaders { content_type: Some(format.content_type().into()), file_name: None };
        let signed =
            app.objects.presign_get(&outputs::key(job.id, &name), &audience, URL_LIFE, &headers).await;
        urls.push(signed.map_err(|source| AwsError::Objects { source })?.into_string());
    }
    Ok(AwsJson(urls))
}

/// `GET /inference/get-inference-job-param-output`: one URL for every job there is, whether its file exists or
/// not, as the service answers.
pub(super) async fn param_output(
    State(app): State<App>,
    caller: Caller,
    CallerAudience(audience): CallerAudience,
    AwsQuery(query): AwsQuery<JobQuery>,
) -> Result<AwsJson<Vec<String>>, AwsError> {
    let job = find(&app, &caller, query.job_id.as_deref().unwrap_or_default()).await?;
    let Some(job) = job else { return Ok(AwsJson(Vec::new())) };
    let key = outputs::key(job.id, &record::param_name(&job));
    let signed = app.objects.presign_get(&key, &audience, URL_LIFE, &ResponseHeaders::default()).await;
    Ok(AwsJson(vec![signed.map_err(|source| AwsError::Objects { source })?.into_string()]))
}

/// `GET /inference/list-inference-jobs`
pub(super) async fn list_jobs(
    State(app): State<App>,
    caller: Caller,
) -> Result<AwsJson<Vec<JobRecord>>, AwsError> {
    let records = collect(&app, filter(&caller), MOST_RECORDS, |_| true).await?;
    Ok(AwsJson(records))
}

/// `POST /inference/query-inference-jobs`: the newest first.
pub(super) async fn query_jobs(
    State(app): State<App>,
    caller: Caller,
    AwsJson(query): AwsJson<QueryJobs>,
) -> Result<AwsJson<Vec<JobRecord>>, AwsError> {
    let given = |field: Option<String>| field.filter(|text| !text.is_empty());
    let limit = match query.limit.map(|limit| limit.0) {
        None | Some(-1) => MOST_RECORDS,
        Some(limit) => usize::try_from(limit).unwrap_or(0).min(MOST_RECORDS),
    };
    let mut filter = filter(&caller);
    filter.created_after = given(query.start_time).map(|text| moment("start_time", &text)).transpose()?;
    filter.created_before = given(query.end_time).map(|text| moment("end_time", &text)).transpose()?;
    if let Some(endpoint) = given(query.endpoint) {
        if !caller.sees_endpoint(&endpoint) {
            return Ok(AwsJson(Vec::new()));
        }
        filter.endpoint = Some(endpoint);
    }
    match given(query.task_type).as_deref() {
        None => {}
        Some("txt2img") => filter.task = Some(Task::TextToImage),
        Some(_) => return Ok(AwsJson(Vec::new())),
    }
    match given(query.status).as_deref().map(states) {
        None => {}
        Some([]) => return Ok(AwsJson(Vec::new())),
        Some(states) => filter.states = states.to_vec(),
    }
    let checkpoint = given(query.checkpoint);
    let uses = |record: &JobRecord| {
        checkpoint.as_deref().is_none_or(|name| {
            let base = record.params.used_models.get("Stable-diffusion");
            base.is_some_and(|used| used.iter().any(|model| model.model_name == name))
        })
    };
    Ok(AwsJson(collect(&app, filter, limit, uses).await?))
}

/// A job that this caller may see.
async fn find(app: &App, caller: &Caller, id: &str) -> Result<Option<Job>, AwsError> {
    let Ok(id) = id.parse::<JobId>() else { return Ok(None) };
    let job = app.jobs.get(&caller.namespace, id).await.map_err(|source| AwsError::Jobs { source })?;
    Ok(job.filter(|job| job.dialect == DIALECT && caller.sees_endpoint(&job.endpoint)))
}

fn filter(caller: &Caller) -> JobFilter {
    JobFilter {
        endpoint: caller.endpoint.clone(),
        dialect: Some(DIALECT.into()),
        limit: PAGE,
        ..JobFilter::new(caller.namespace.as_str())
    }
}

/// The first `limit` records that `wanted` takes, of the newest [`MOST_RECORDS`].
async fn collect(
    app: &App,
    mut filter: JobFilter,
    limit: usize,
    wanted: impl Fn(&JobRecord) -> bool,
) -> Result<Vec<JobRecord>, AwsError> {
    let (mut records, mut seen) = (Vec::new(), 0);
    while records.len() < limit && seen < MOST_RECORDS {
        let page = app.jobs.list(&filter).await.map_err(|source| AwsError::Jobs { source })?;
        seen += page.jobs.len();
        let found = page.jobs.iter().map(|job| record::of(job, &app.config.s3.bucket)).filter(&wanted);
        records.extend(found.take(limit - records.len()));
        match page.next {
            Some(next) => filter.before = Some(next),
            None => break,
        }
    }
    Ok(records)
}

fn states(word: &str) -> &'static [JobState] {
    match word {
        "inprogress" => &[JobState::Queued, JobState::Running],
        "succeed" => &[JobState::Succeeded],
        "failed" | "failure" => &[JobState::Failed, JobState::Cancelled],
        _ => &[],
    }
}

fn image_format(word: Option<&str>) -> Result<ImageFormat, AwsError> {
    match word {
        None | Some("" | "jpg" | "jpeg") => Ok(ImageFormat::Jpeg),
        Some("png") => Ok(ImageFormat::Png),
        Some(_) => Err(AwsError::Field { field: "format".into(), problem: "jpg or png is allowed".into() }),
    }
}

/// A day means its first moment, as the service's comparison of texts has it.
fn moment(field: &str, text: &str) -> Result<Timestamp, AwsError> {
    let parsed = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(|day| day.at(0, 0, 0, 0)));
    let at = parsed.and_then(|at| at.to_zoned(TimeZone::UTC)).map(|at| at.timestamp());
    at.map_err(|_| AwsError::Field {
        field: field.to_owned(),
        problem: "a time as 2023-07-05 or 2023-07-05 06:38:45 is needed".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_or_seconds() {
        let at = |text| moment("start_time", text).ok().map(record::time);
        assert_eq!(at("2023-07-05").as_deref(), Some("2023-07-05 00:00:00.000000"));
        assert_eq!(at("2023-07-05 06:38:45.752740").as_deref(), Some("2023-07-05 06:38:45.752740"));
        for bad in ["yesterday", "2023-13-01", "2023-07-05 25:00:00"] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
