//! `POST /train`: from this dialect's words to a TrainingJob. Pure, but for the name that nothing has yet.

use easel_crds::TrainingJobSpec;
use serde_json::{Map, Value, json};

use super::concepts::{Lists, Taught, taught};
use super::config::{Config, number, set};
use super::error::TrainingError;
use super::hyperparameters::hyperparameters;
use super::method::Method;
use super::names::{new_name, shown};
use super::note::TrainNote;
use super::uploads::{self, Uploads};
use super::wire::CreateTrain;
use crate::catalog::{DatasetView, ModelView};

/// Names listed in an error at most.
const NAMES_SHOWN: usize = 20;
/// Longest REST name of a Model, less its ending and a mark.
const MAX_MODEL_NAME: usize = 100;

/// What a request may refer to.
pub(super) struct World<'a> {
    pub namespace: &'a str,
    pub bucket: &'a str,
    /// Checkpoints of the namespace.
    pub models: Vec<ModelView>,
    /// Is there a Model of this REST name?
    pub taken: &'a dyn Fn(&str) -> bool,
    pub dataset: &'a dyn Fn(&str) -> Option<DatasetView>,
}

/// What is to be made.
#[derive(Debug)]
pub(super) struct Plan {
    /// Of the TrainingJob and of the Model.
    pub name: String,
    pub spec: TrainingJobSpec,
    pub note: TrainNote,
    pub uploads: Uploads,
    /// Name of the Dataset for the uploads, if there are pictures.
    pub dataset: Option<String>,
    pub warnings: Vec<String>,
}

/// # Errors
/// What the client has to mend.
pub(super) fn plan(body: CreateTrain, world: &World<'_>) -> Result<Plan, TrainingError> {
    let missing = |field: &str| TrainingError::field(field, "it is missing");
    let text = |given: Option<String>| given.filter(|text| !text.is_empty());
    let train_type = text(body.train_type).ok_or_else(|| missing("train_type"))?;
    let model_id = text(body.model_id).ok_or_else(|| missing("model_id"))?;
    let model = base_model(world, &model_id)?;
    let params = body.params.ok_or_else(|| missing("params"))?;
    let uploads = uploads::sort(body.filenames.unwrap_or_default())?;
    let mut warnings: Vec<String> =
        uploads.others.iter().map(|file| format!("filenames: nothing reads {}", shown(file))).collect();

    let mut outer = Config::new("params", params.clone());
    let (of_service, of_document) = (outer.take("training_params")?, outer.take("train_params")?);
    let mut training = Config::new("params.training_params", of_service.or(of_document).unwrap_or_default());
    let mut config = Config::new("params.config_params", outer.take("config_params")?.unwrap_or_default());
    let method = Method::of(&train_type, &mut config)?;
    let model_name = model_name(&mut training, &mut config)?;
    let name = new_name(model_name.as_deref().unwrap_or(&model.name));
    let dataset = (!uploads.pictures.is_empty()).then(|| format!("{name}-data"));
    let taught = concepts(&mut training, &mut config, dataset.as_deref(), world)?;

    let mut spec = Map::from_iter([
        ("method".to_owned(), method.as_str().into()),
        ("baseModel".to_owned(), json!({"name": model.name})),
        ("suspend".to_owned(), true.into()),
        ("hyperparameters".to_owned(), hyperparameters(&mut config, method)?),
        ("output".to_owned(), output(&name, model_name, world, &mut warnings)),
    ]);
    method.block(&mut config, &mut spec)?;
    set(&mut spec, "instanceType", training.text("training_instance_type")?);
    let every = config.whole("checkpoint_every_steps")?;
    set(&mut spec, "checkpoints", every.map(|every| json!({"everySteps": every})));
    set(&mut spec, "samples", samples(&mut config, &taught)?);
    spec.insert("concepts".to_owned(), taught.concepts.into());

    warnings.extend(taught.warnings);
    warnings.extend(outer.left().chain(training.left()).chain(config.left()));
    let spec = serde_json::from_value(spec.into())
        .map_err(|error| TrainingError::field("params.config_params", error.to_string()))?;
    let note = TrainNote { train_type: Some(train_type), params, dataset: dataset.clone() };
    Ok(Plan { name, spec, note, uploads, dataset, warnings })
}

/// The Checkpoint that an id or a name means, if it can be trained.
fn base_model<'a>(world: &'a World<'_>, id: &str) -> Result<&'a ModelView, TrainingError> {
    let by_id = world.models.iter().find(|model| model.uid == id);
    let found = by_id.or_else(|| world.models.iter().find(|model| model.is_called(id)));
    let Some(model) = found else {
        let ready = world.models.iter().filter(|model| model.ready.holds);
        let known = ready.map(|model| model.display_name.clone()).take(NAMES_SHOWN).collect();
        return Err(TrainingError::NoModel { name: shown(id), known });
    };
    if !model.ready.holds {
        let (reason, message) = (model.ready.reason.clone(), model.ready.message.clone());
        return Err(TrainingError::ModelNotReady { name: shown(id), reason, message });
    }
    Ok(model)
}

/// What the client calls the result.
fn model_name(training: &mut Config, config: &mut Config) -> Result<Option<String>, TrainingError> {
    let field = training.name("model_name");
    let (first, second) = (training.text("model_name")?, config.text("model_name")?);
    let name = first.or(second);
    if name.as_ref().is_some_and(|name| {
        name.chars().count() > MAX_MODEL_NAME
            || name.starts_with('/')
            || name.contains("..")
            || name.contains("//")
    }) {
        let problem =
            format!("at most {MAX_MODEL_NAME} characters, without '..', '//' and a leading '/', are allowed");
        return Err(TrainingError::field(field, problem));
    }
    Ok(name)
}

fn concepts(
    training: &mut Config,
    config: &mut Config,
    uploaded: Option<&str>,
    world: &World<'_>,
) -> Result<Taught, TrainingError> {
    let mut list = |first: &str, second: &str| -> Result<Vec<String>, TrainingError> {
        let first: Vec<String> = training.take(first)?.unwrap_or_default();
        let second: Vec<String> = training.take(second)?.unwrap_or_default();
        let at = |list: &[String], index: usize| list.get(index).filter(|word| !word.is_empty()).cloned();
        let count = first.len().max(second.len());
        Ok((0..count).map(|index| at(&first, index).or(at(&second, index)).unwrap_or_default()).collect())
    };
    let lists = Lists {
        instance: list("data_tar_list", "s3_data_path_list")?,
        class: list("class_data_tar_list", "s3_class_data_path_list")?,
    };
    // The reference's client sends them; here the model is known by its id.
    for known in ["s3_model_path", "model_type"] {
        training.take::<Value>(known)?;
    }
    taught(config, &lists, uploaded, &|word| dataset_called(world, word))
}

/// By name, or by its place in the object store as `GET /datasets` shows it, with or without the namespace.
fn dataset_called(world: &World<'_>, word: &str) -> Option<String> {
    let place = match word.strip_prefix("s3://") {
        Some(rest) => rest.strip_prefix(world.bucket)?.strip_prefix("/dataset/")?,
        None => word,
    };
    let place = place.trim_end_matches('/');
    let found = (world.dataset)(place).or_else(|| {
        let name = place.strip_prefix(world.namespace)?.strip_prefix('/')?;
        (world.dataset)(name)
    });
    found.map(|dataset| dataset.name)
}

fn output(name: &str, model_name: Option<String>, world: &World<'_>, warnings: &mut Vec<String>) -> Value {
    let Some(wanted) = model_name else {
        return json!({"modelName": name, "displayName": format!("{name}.safetensors")});
    };
    let mut display_name = format!("{}.safetensors", wanted.trim_end_matches(".safetensors"));
    if (world.taken)(&display_name) {
        let mark = &name[name.len() - 8..];
        let other = format!("{}-{mark}.safetensors", wanted.trim_end_matches(".safetensors"));
        warnings.push(format!("there is a model {display_name} already; this one is called {other}"));
        display_name = other;
    }
    json!({"modelName": name, "displayName": display_name})
}

/// Samples are made where there is a prompt for them.
fn samples(config: &mut Config, taught: &Taught) -> Result<Option<Value>, TrainingError> {
    let every = config.whole("sample_every_steps")?;
    if taught.sample_prompts.is_empty() {
        return Ok(None);
    }
    let mut samples = Map::from_iter([
        ("everySteps".to_owned(), number(every.unwrap_or(500))),
        ("prompts".to_owned(), taught.sample_prompts.clone().into()),
    ]);
    set(&mut samples, "seed", taught.sample_seed.map(number));
    set(&mut samples, "steps", taught.sample_steps.map(number));
    Ok(Some(samples.into()))
}
