//! The Model that an upload is for, and whether it waits for these files.

use easel_store::objects::ObjectKey;

use super::error::NativeError;
use crate::app::App;
use crate::auth::Caller;
use crate::catalog::{DeclaredFile, ModelView, SourceView};
use crate::worker_api::upload_key;

/// A Model whose files may be sent now.
pub(super) struct Target {
    pub model: ModelView,
    pub files: Vec<DeclaredFile>,
}

impl Target {
    pub(super) fn find(app: &App, caller: &Caller, name: &str) -> Result<Self, NativeError> {
        if !app.directory.objects_known() {
            return Err(NativeError::NotSynced);
        }
        let model = app.directory.model(&caller.namespace, name);
        let model = model.ok_or_else(|| NativeError::NoModel(name.chars().take(80).collect()))?;
        let SourceView::Upload { files, .. } = &model.source else {
            return Err(NativeError::NotAnUpload { model: model.name });
        };
        if model.ready.holds {
            return Err(NativeError::AlreadyReady { model: model.name });
        }
        let files = files.clone();
        Ok(Self { model, files })
    }

    /// The declared file of that name.
    pub(super) fn file(&self, name: &str) -> Result<&DeclaredFile, NativeError> {
        self.files.iter().find(|file| file.name == name).ok_or_else(|| NativeError::NotDeclared {
            model: self.model.name.clone(),
            file: name.chars().take(80).collect(),
            declared: self.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// Where the bytes of a file go.
    pub(super) fn key(&self, file: &DeclaredFile) -> Result<ObjectKey, NativeError> {
        upload_key(&self.model.namespace, &self.model.name, &file.name)
            .map_err(|error| NativeError::Input(error.to_string()))
    }
}
