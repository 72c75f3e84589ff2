//! What is taught: the reference's `concepts_list`, with pictures that are Datasets here.

use serde_json::{Map, Value, json};

use super::config::{Config, number, set};
use super::error::TrainingError;
use super::names::shown;

/// As many as the kind allows.
const MAX_CONCEPTS: usize = 8;
/// Prompts of samples, as many as the kind allows.
const MAX_PROMPTS: usize = 8;
/// Stands for a picture's own caption, which is used anyway where there is one.
const FILE_WORDS: &str = "[filewords]";

/// Where pictures of concepts are named beside `concepts_list`, one entry for each concept; empty ones do not count.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub instance: Vec<String>,
    pub class: Vec<String>,
}

/// What is read out of a request.
#[derive(Debug, Default)]
pub(super) struct Taught {
    /// `spec.concepts`
    pub concepts: Vec<Value>,
    pub sample_prompts: Vec<String>,
    pub sample_seed: Option<u64>,
    pub sample_steps: Option<u64>,
    pub warnings: Vec<String>,
}

/// `dataset`: the object that a word of the client means. `uploaded`: name of the Dataset of the pictures that come
/// with the call.
pub(super) fn taught(
    config: &mut Config,
    lists: &Lists,
    uploaded: Option<&str>,
    dataset: &dyn Fn(&str) -> Option<String>,
) -> Result<Taught, TrainingError> {
    let common = (config.text("instance_prompt")?, config.text("class_prompt")?);
    let mut taught = Taught {
        sample_prompts: config.text("save_sample_prompt")?.into_iter().collect(),
        ..Taught::default()
    };
    let given: Vec<Map<String, Value>> = config.take("concepts_list")?.unwrap_or_default();
    let count = given.len().max(lists.instance.len()).max(usize::from(uploaded.is_some()));
    if count == 0 || count > MAX_CONCEPTS {
        let problem = format!(
            "{count} concepts; 1 to {MAX_CONCEPTS} are needed, each with a data set in \
             params.training_params.data_tar_list or in instance_data_dir"
        );
        return Err(TrainingError::field(config.name("concepts_list"), problem));
    }
    let place = config.name("concepts_list");
    let mut given = given.into_iter();
    for index in 0..count {
        let fields = given.next().unwrap_or_default();
        let mut concept = Config::new(format!("{place}[{index}]"), fields);
        if !concept.flag("is_valid")?.unwrap_or(true) {
            continue;
        }
        let pictures = Pictures { lists, index, uploaded, dataset };
        let one = concept_of(&mut concept, &pictures, &common, &mut taught)?;
        taught.concepts.push(one);
        taught.warnings.extend(concept.left());
    }
    taught.sample_prompts.truncate(MAX_PROMPTS);
    Ok(taught)
}

/// Where the pictures of one concept are looked for.
struct Pictures<'a> {
    lists: &'a Lists,
    index: usize,
    uploaded: Option<&'a str>,
    dataset: &'a dyn Fn(&str) -> Option<String>,
}

impl Pictures<'_> {
    fn named(&self, list: &[String], own: Option<String>) -> Option<String> {
        list.get(self.index).filter(|word| !word.is_empty()).cloned().or(own)
    }

    fn find(&self, field: String, word: &str) -> Result<String, TrainingError> {
        (self.dataset)(word).ok_or_else(|| {
            TrainingError::field(
                field,
                format!("\"{}\" is no data set; POST /dataset makes one", shown(word)),
            )
        })
    }
}

fn concept_of(
    concept: &mut Config,
    pictures: &Pictures<'_>,
    common: &(Option<String>, Option<String>),
    taught: &mut Taught,
) -> Result<Value, TrainingError> {
    let field = concept.name("instance_data_dir");
    let instance = pictures.named(&pictures.lists.instance, concept.text("instance_data_dir")?);
    let dataset = match (instance, pictures.uploaded) {
        (Some(word), _) => pictures.find(field, &word)?,
        (None, Some(uploaded)) => uploaded.to_owned(),
        (None, None) => return Err(TrainingError::field(field, "the name of a data set is missing")),
    };
    let token = concept.text("instance_token")?;
    let prompt = concept.text("instance_prompt")?.or_else(|| common.0.clone());
    let prompt = prompt.map(|prompt| words(&prompt)).filter(|prompt| !prompt.is_empty()).or(token);
    let prompt = prompt.ok_or_else(|| {
        TrainingError::field(
            concept.name("instance_prompt"),
            "the text of pictures without a caption is missing",
        )
    })?;
    let mut out = Map::from_iter([
        ("dataset".to_owned(), json!({"name": dataset})),
        ("instancePrompt".to_owned(), prompt.into()),
    ]);
    let class = concept.text("class_prompt")?.or_else(|| common.1.clone());
    let class = class.map(|class| words(&class)).filter(|class| !class.is_empty());
    let class_field = concept.name("class_data_dir");
    let class_pictures = pictures.named(&pictures.lists.class, concept.text("class_data_dir")?);
    let negative = concept.text("class_negative_prompt")?;
    let per_picture = concept.whole("num_class_images_per")?;
    if class.is_some() {
        set(&mut out, "classPrompt", class);
        set(&mut out, "classNegativePrompt", negative);
        set(&mut out, "classPicturesPerPicture", per_picture.map(number));
        if let Some(word) = class_pictures {
            out.insert("classDataset".to_owned(), json!({"name": pictures.find(class_field, &word)?}));
        }
    } else if class_pictures.is_some() {
        taught.warnings.push(format!("{class_field} has no effect without class_prompt"));
    }
    set(&mut out, "repeats", concept.whole("repeats")?.map(number));
    samples(concept, taught)?;
    Ok(out.into())
}

fn samples(concept: &mut Config, taught: &mut Taught) -> Result<(), TrainingError> {
    let wanted = concept.whole("n_save_sample")?.unwrap_or(1) > 0;
    let prompt = concept.text("save_sample_prompt")?.map(|prompt| words(&prompt));
    taught.sample_prompts.extend(prompt.filter(|prompt| wanted && !prompt.is_empty()));
    taught.sample_seed = taught.sample_seed.or(concept.whole("sample_seed")?);
    taught.sample_steps = taught.sample_steps.or(concept.whole("save_infer_steps")?);
    Ok(())
}

fn words(prompt: &str) -> String {
    prompt.replace(FILE_WORDS, "").trim().trim_end_matches(',').trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: Value, instance: &[&str], uploaded: Option<&str>) -> Result<Taught, TrainingError> {
        let Value::Object(fields) = config else { unreachable!("an object") };
        let lists =
            Lists { instance: instance.iter().map(|word| (*word).to_owned()).collect(), class: Vec::new() };
        let dataset = |word: &str| ["cats", "dogs"].contains(&word).then(|| word.to_owned());
        taught(&mut Config::new("config_params", fields), &lists, uploaded, &dataset)
    }

    #[test]
    fn pictures_are_found_wherever_they_are_named() {
        let concept = |more: Value| {
            let mut concept = json!({"instance_prompt": "photo of sks"});
            for (key, value) in more.as_object().expect("fields") {
                concept[key] = value.clone();
            }
            json!({"concepts_list": [concept]})
        };
        let want = json!([{"dataset": {"name": "cats"}, "instancePrompt": "photo of sks"}]);
        let cases = [
            (concept(json!({"instance_data_dir": "cats"})), &[][..], None),
            (concept(json!({"instance_data_dir": "C:\\gone"})), &["cats"], None),
            (concept(json!({"instance_data_dir": "cats"})), &[""], Some("up")),
            (json!({"instance_prompt": "photo of sks, [filewords]"}), &["cats"], None),
            (concept(json!({})), &[], Some("cats")),
        ];
        for (config, instance, uploaded) in cases {
            let taught = read(config.clone(), instance, uploaded).expect("readable");
            assert_eq!(Value::from(taught.concepts), want, "{config}");
        }
    }

    #[test]
    fn a_class_has_its_own_pictures_and_what_has_no_effect_is_told() {
        let config = json!({"concepts_list": [
            {"instance_data_dir": "cats", "instance_token": "sks", "class_prompt": "a cat", "class_data_dir": "dogs",
             "num_class_images_per": 2, "save_sample_prompt": "sks cat", "sample_seed": 3, "odd": 1},
            {"is_valid": false},
        ]});
        let taught = read(config, &[], None).expect("readable");
        let want = json!([{"dataset": {"name": "cats"}, "instancePrompt": "sks", "classPrompt": "a cat",
            "classDataset": {"name": "dogs"}, "classPicturesPerPicture": 2}]);
        assert_eq!(Value::from(taught.concepts), want);
        assert_eq!((taught.sample_prompts, taught.sample_seed), (vec!["sks cat".to_owned()], Some(3)));
        assert_eq!(taught.warnings, ["config_params.concepts_list[0].odd has no effect here"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let cases = [
            (json!({}), &[][..], "config_params.concepts_list: 0 concepts"),
            (
                json!({}),
                &["birds"],
                "config_params.concepts_list[0].instance_data_dir: \"birds\" is no data set",
            ),
            (json!({}), &["cats"], "config_params.concepts_list[0].instance_prompt"),
            (
                json!({"concepts_list": [{}]}),
                &[],
                "config_params.concepts_list[0].instance_data_dir: the name",
            ),
            (json!({"concepts_list": 3}), &[], "config_params.concepts_list"),
        ];
        for (config, instance, want) in cases {
            let error = read(config, instance, None).expect_err(want).to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
