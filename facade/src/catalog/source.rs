//! Where a Model's bytes come from, as the importer's part of the facade sees it.

use easel_crds::common::{SecretKeyRef, SecretRef};
use easel_crds::model::{
    CivitaiSource, HttpSource, HuggingFaceSource, MergeMethod, MergePrecision, MergeSource, ModelSource,
    ObjectStoreSource, S3Source, UploadFile, UploadSource, VolumeSource,
};
use easel_protocol::import;

use super::views::{DeclaredFile, MergeView, S3View, SourceView, TokenRef};

/// `completed`: the Model's upload is. Taken apart whole, so that a new source has to be thought of here.
pub(super) fn source(source: &ModelSource, completed: bool) -> SourceView {
    let ModelSource { upload, object_store, s3, http, hugging_face, civitai, volume, merge, training_job } =
        source;
    let found = [
        upload.as_ref().map(|source| self::upload(source, completed)),
        object_store.as_ref().map(stored),
        s3.as_ref().map(self::s3),
        http.as_ref().map(self::http),
        hugging_face.as_ref().map(self::hugging_face),
        civitai.as_ref().map(self::civitai),
        volume.as_ref().map(|VolumeSource { path, .. }| SourceView::Volume { path: path.clone() }),
        merge.as_ref().map(|merge| SourceView::Merge(self::merge(merge))),
        training_job.as_ref().map(|job| SourceView::TrainingJob { name: job.name.clone() }),
    ];
    found.into_iter().flatten().next().unwrap_or(SourceView::Absent)
}

fn upload(UploadSource { files }: &UploadSource, completed: bool) -> SourceView {
    let declared = |file: &UploadFile| DeclaredFile { name: file.name.clone(), size_bytes: file.size_bytes };
    SourceView::Upload { files: files.iter().map(declared).collect(), completed }
}

fn stored(ObjectStoreSource { key, sha256 }: &ObjectStoreSource) -> SourceView {
    SourceView::ObjectStore { key: key.clone(), sha256: sha256.clone() }
}

fn s3(source: &S3Source) -> SourceView {
    SourceView::S3(S3View {
        bucket: source.bucket.clone(),
        key: source.key.clone(),
        region: source.region.clone(),
        endpoint: source.endpoint.clone(),
        credentials: name(source.credentials_secret_ref.as_ref()),
        sha256: source.sha256.clone(),
    })
}

fn http(source: &HttpSource) -> SourceView {
    SourceView::Http {
        url: source.url.clone(),
        sha256: source.sha256.clone(),
        headers_secret: name(source.headers_secret_ref.as_ref()),
    }
}

fn hugging_face(source: &HuggingFaceSource) -> SourceView {
    SourceView::HuggingFace {
        repository: source.repository.clone(),
        revision: source.revision.clone(),
        files: source.files.clone(),
        ignore: source.ignore.clone(),
        token: token(source.token_secret_ref.as_ref()),
    }
}

fn civitai(source: &CivitaiSource) -> SourceView {
    SourceView::Civitai {
        model_version_id: source.model_version_id,
        sha256: source.sha256.clone(),
        token: token(source.token_secret_ref.as_ref()),
    }
}

/// The API server lets only decimals through; what is none would be 0.
fn merge(source: &MergeSource) -> MergeView {
    let number = |text: &String| text.parse().unwrap_or(0.0);
    MergeView {
        models: source.models.iter().map(|model| model.name.clone()).collect(),
        vae: source.vae.as_ref().map(|model| model.name.clone()),
        method: match source.method {
            MergeMethod::WeightedSum => import::MergeMethod::WeightedSum,
            MergeMethod::AddDifference => import::MergeMethod::AddDifference,
            MergeMethod::Sigmoid => import::MergeMethod::Sigmoid,
            MergeMethod::InverseSigmoid => import::MergeMethod::InverseSigmoid,
        },
        multiplier: number(&source.multiplier),
        block_weights: source.block_weights.iter().map(number).collect(),
        precision: match source.precision {
            MergePrecision::F16 => import::MergePrecision::F16,
            MergePrecision::Bf16 => import::MergePrecision::Bf16,
            MergePrecision::F32 => import::MergePrecision::F32,
        },
        prune_ema: source.prune_ema,
    }
}

fn name(secret: Option<&SecretRef>) -> Option<String> {
    secret.map(|secret| secret.name.clone())
}

fn token(secret: Option<&SecretKeyRef>) -> Option<TokenRef> {
    secret.map(|secret| TokenRef { secret: secret.name.clone(), key: secret.key.clone() })
}
