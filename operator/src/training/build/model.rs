//! The Model of the result. It has no owner: it outlives the TrainingJob.

use easel_crds::model::{ModelSource, TrainingJobSource};
use easel_crds::{Model, ModelSpec};
use kube::ResourceExt;

use super::ValidTraining;
use crate::labels::TRAINING_JOB;

pub fn build(valid: &ValidTraining) -> Model {
    let name = valid.owner.name.clone();
    let source = TrainingJobSource { name: name.clone() };
    let spec = ModelSpec {
        r#type: valid.output.model_type,
        display_name: valid.output.display_name.clone(),
        source: ModelSource { training_job: Some(source), ..ModelSource::default() },
        suspend: false,
    };
    let mut model = Model::new(&valid.output.model, spec);
    model.metadata.namespace = Some(valid.owner.namespace.clone());
    model.labels_mut().insert(TRAINING_JOB.to_owned(), name);
    model
}
