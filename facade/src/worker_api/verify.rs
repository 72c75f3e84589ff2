//! What has to be true before a job counts as succeeded.

use std::collections::BTreeMap;

use easel_store::jobs::{CompletionRecord, Job};
use futures::{StreamExt, TryStreamExt, stream};

use super::error::WorkerError;
use crate::app::App;
use crate::dialects;
use crate::outputs as layout;

/// Objects looked at at the same time.
const AT_ONCE: usize = 8;

/// Every expected output is declared once, and stored with the declared size.
pub(super) async fn outputs(app: &App, job: &Job, record: &CompletionRecord) -> Result<(), WorkerError> {
    let wrong = |name: &str, problem: String| WorkerError::Output {
        job: job.id.to_string(),
        name: name.chars().take(80).collect(),
        problem,
    };
    let mut declared: BTreeMap<&str, u64> =
        record.outputs.iter().map(|output| (output.name.as_str(), output.size_bytes)).collect();
    let mut expected = Vec::new();
    for (_, _, name) in layout::expected(&job.request) {
        let size = declared.remove(name.as_str()).ok_or_else(|| wrong(&name, "it is not declared".into()))?;
        expected.push((name, size));
    }
    if let Some(name) = declared.keys().next() {
        return Err(wrong(name, "it is none of this job".into()));
    }
    if record.infotexts.len() != job.request.pictures() as usize {
        let problem = format!("{} infotexts for {} pictures", record.infotexts.len(), job.request.pictures());
        return Err(wrong("infotexts", problem));
    }
    stream::iter(expected)
        .map(|(name, size)| async move {
            let stored = app.objects.head(&layout::key(job.id, &name)).await?;
            match stored.map(|meta| meta.size) {
                Some(stored) if stored == size => Ok(()),
                Some(stored) => Err(wrong(&name, format!("{stored} bytes are stored, {size} are declared"))),
                None => Err(wrong(&name, "it is not stored".into())),
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
}

/// Stores the dialect's file about the results. Repeating it writes the same bytes.
pub(super) async fn write_document(
    app: &App,
    job: &Job,
    record: &CompletionRecord,
) -> Result<(), WorkerError> {
    if let Some(document) = dialects::result_document(job, record) {
        let key = layout::key(job.id, &document.name);
        app.objects.put(&key, document.body, document.content_type).await?;
    }
    Ok(())
}
