//! What can go wrong in a reconcile, and what to do about it.

use crate::endpoint::InvalidEndpoint;
use crate::model::InvalidModel;
use crate::training::InvalidTraining;

/// A failed reconcile. Facts about pods and imports are not errors but part of the status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {what}")]
    Read { what: String, source: Box<kube::Error> },
    #[error("cannot apply {what}")]
    Apply { what: String, source: Box<kube::Error> },
    #[error("cannot delete {what}")]
    Delete { what: String, source: Box<kube::Error> },
    #[error("cannot write the status of {what}")]
    Status { what: String, source: Box<kube::Error> },
    #[error(
        "{kind} {name} exists and belongs to something else; it is left alone: delete or rename it, or \
         rename this object"
    )]
    NameConflict { kind: String, name: String },
    #[error("{kind} {name} of a former object is still being deleted")]
    OldChild { kind: String, name: String },
    #[error("the object was read without a name, namespace or UID")]
    Unstored,
    #[error("the API server did not answer within {seconds} s")]
    TimedOut { seconds: u64 },
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    #[error(transparent)]
    Model(#[from] InvalidModel),
    #[error(transparent)]
    Training(#[from] InvalidTraining),
}

impl Error {
    /// Stable CamelCase word for conditions, events and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "ReadFailed",
            Self::Apply { .. } if self.retriable() => "ApplyFailed",
            Self::Apply { .. } => "ApplyRefused",
            Self::Delete { .. } => "DeleteFailed",
            Self::Status { .. } => "StatusFailed",
            Self::NameConflict { .. } => "NameConflict",
            Self::OldChild { .. } => "WaitingForDeletion",
            Self::Unstored => "NotStored",
            Self::TimedOut { .. } => "ApiServerTimeout",
            Self::Endpoint(invalid) => invalid.reason(),
            Self::Model(invalid) => invalid.reason(),
            Self::Training(invalid) => invalid.reason(),
        }
    }

    /// Does trying again with the same spec make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Read { source, .. } | Self::Apply { source, .. } => api_may_recover(source),
            Self::Delete { source, .. } | Self::Status { source, .. } => api_may_recover(source),
            Self::OldChild { .. } | Self::TimedOut { .. } => true,
            Self::NameConflict { .. } | Self::Unstored => false,
            Self::Endpoint(_) | Self::Model(_) | Self::Training(_) => false,
        }
    }

    /// Is this a wait for something that is under way, rather than a failure?
    pub fn is_wait(&self) -> bool {
        match self {
            Self::OldChild { .. } => true,
            Self::Read { .. } | Self::Apply { .. } | Self::Delete { .. } | Self::Status { .. } => false,
            Self::NameConflict { .. } | Self::Unstored | Self::TimedOut { .. } => false,
            Self::Endpoint(_) | Self::Model(_) | Self::Training(_) => false,
        }
    }

    /// The sentence for a status: this error and the API server's own words, if it gave any.
    pub fn message(&self) -> String {
        match self {
            Self::Read { source, .. }
            | Self::Apply { source, .. }
            | Self::Delete { source, .. }
            | Self::Status { source, .. } => match &**source {
                kube::Error::Api(status) => format!("{self}: {}", status.message),
                _ => format!("{self}: the API server did not answer"),
            },
            Self::NameConflict { .. } | Self::OldChild { .. } | Self::Unstored => self.to_string(),
            Self::TimedOut { .. } => self.to_string(),
            Self::Endpoint(_) | Self::Model(_) | Self::Training(_) => self.to_string(),
        }
    }
}

/// A refused object stays refused; all else (conflicts, overload, quota, missing rights, no answer) may pass.
fn api_may_recover(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => !matches!(status.code, 400 | 405 | 413 | 415 | 422),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16) -> Error {
        let status = Status { code, message: "no".into(), ..Status::default() };
        Error::Apply { what: "Service x".into(), source: Box::new(kube::Error::Api(Box::new(status))) }
    }

    #[test]
    fn only_what_the_server_calls_invalid_is_permanent() {
        for (code, retriable) in
            [(400, false), (422, false), (403, true), (409, true), (429, true), (500, true)]
        {
            let error = refused(code);
            assert_eq!(error.retriable(), retriable, "{code}");
            assert_eq!(error.reason(), if retriable { "ApplyFailed" } else { "ApplyRefused" }, "{code}");
            assert_eq!(error.message(), "cannot apply Service x: no");
        }
    }
}
