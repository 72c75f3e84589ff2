//! `POST /inference-api/inference`: from this dialect's words to the normal form, and a job.

use axum::extract::State;
use easel_protocol::{GenerationRequest, InvalidRequest, NetworkKind, Sampler, Task};
use http::HeaderMap;
use serde_json::{Map, Value};

use super::error::AwsError;
use super::json::AwsJson;
use super::numbers::Whole;
use super::record;
use super::wire::{InferenceStarted, KeptParams, RunInference};
use super::{DIALECT, features};
use crate::app::App;
use crate::auth::Caller;
use crate::submission::{self, SubmitError, Wish};

/// The key of `models` that names the base model.
const BASE_MODEL: &str = "Stable-diffusion";
/// Choices of `sd_vae` that mean the checkpoint's own autoencoder.
const NO_VAE: &[&str] = &["", "None", "Automatic"];
/// The template's sampler.
const DEFAULT_SAMPLER: &str = "Euler a";

/// Queues a job; answers before any picture exists.
pub(super) async fn run_inference(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    AwsJson(body): AwsJson<RunInference>,
) -> Result<AwsJson<InferenceStarted>, AwsError> {
    let mut wish = translate(body)?;
    wish.idempotency_key = idempotency_key(&headers)?;
    if app.config.log_prompts {
        tracing::info!(prompt = wish.request.prompt, "generation asked for");
    }
    let bucket = &app.config.s3.bucket;
    let keep = |resolved: &submission::Resolved| {
        serde_json::to_value(record::kept_params(resolved, bucket)).expect("plain strings are JSON")
    };
    let (job, _) = submission::submit(&app, &caller, wish, keep).await.map_err(in_our_words)?;
    let kept: KeptParams = record::kept(&job);
    Ok(AwsJson(record::started(&job, &kept, bucket)))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, AwsError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=128).contains(&key.len()));
    key.map(|key| Some(key.to_owned())).ok_or_else(|| AwsError::Field {
        field: "Idempotency-Key".into(),
        problem: "1 to 128 ASCII characters are allowed".into(),
    })
}

/// Pure, but for the seed of a request that asks for a random one.
fn translate(body: RunInference) -> Result<Wish, AwsError> {
    features::check(&body)?;
    let task = task(body.task_type.as_deref())?;
    let Named { checkpoints, networks } = named(&body)?;
    let sampler_name =
        [&body.sampler_name, &body.sampler_index].into_iter().flatten().find(|name| !name.is_empty());
    let (sampler, schedule) = Sampler::parse(sampler_name.map_or(DEFAULT_SAMPLER, String::as_str))
        .map_err(|error| AwsError::Field { field: "sampler_name".into(), problem: error.to_string() })?;
    let Settings { clip_skip, vae } = override_settings(body.override_settings.as_ref(), &checkpoints)?;
    let request = GenerationRequest {
        task,
        prompt: body.prompt.unwrap_or_default(),
        negative_prompt: body.negative_prompt.unwrap_or_default(),
        checkpoint: String::new(),
        width: natural("width", body.width, 512)?,
        height: natural("height", body.height, 512)?,
        steps: natural("steps", body.steps, 28)?,
        guidance_scale: body.cfg_scale.map_or(7.0, f64::from),
        sampler,
        schedule,
        seed: seed(body.seed)?,
        batch_size: natural("batch_size", body.batch_size, 1)?,
        batch_count: natural("n_iter", body.n_iter, 1)?,
        clip_skip,
        eta: body.eta.map(f64::from),
        networks: Vec::new(),
    };
    let endpoint = body.sagemaker_endpoint_name.filter(|name| !name.is_empty());
    Ok(Wish { dialect: DIALECT, endpoint, checkpoints, networks, vae, request, idempotency_key: None })
}

fn task(name: Option<&str>) -> Result<Task, AwsError> {
    let problem = match name {
        Some("txt2img") => return Ok(Task::TextToImage),
        None | Some("") => "it is missing; txt2img is available".to_owned(),
        Some(other) => {
            let shown: String = other.chars().take(40).collect();
            format!("\"{shown}\" is not available; txt2img is")
        }
    };
    Err(AwsError::Field { field: "task_type".into(), problem })
}

/// What a request lists under `models`.
struct Named {
    checkpoints: Vec<String>,
    /// There for the prompts to name; as in A1111, being listed alone changes no picture.
    networks: Vec<(NetworkKind, String)>,
}

/// This dialect's words for the kinds of networks.
fn network_kind(model_type: &str) -> Option<NetworkKind> {
    match model_type {
        "Lora" => Some(NetworkKind::Lora),
        "hypernetworks" => Some(NetworkKind::Hypernetwork),
        "embeddings" => Some(NetworkKind::TextualInversion),
        "VAE" => Some(NetworkKind::Vae),
        _ => None,
    }
}

/// A type of models that nothing here can use is refused: the picture would lack it.
fn named(body: &RunInference) -> Result<Named, AwsError> {
    let (mut base, mut networks) = (Vec::new(), Vec::new());
    for (model_type, names) in body.models.iter().flatten() {
        let names = names.as_deref().unwrap_or_default();
        if model_type == BASE_MODEL {
            base = names.to_vec();
        } else if let Some(kind) = network_kind(model_type) {
            let names = names.iter().filter(|name| !name.is_empty() && !NO_VAE.contains(&name.as_str()));
            networks.extend(names.map(|name| (kind, name.clone())));
        } else if !names.is_empty() {
            let detail =
                "Stable-diffusion, Lora, hypernetworks, embeddings and VAE are; leave it out or send []";
            return Err(AwsError::Feature {
                field: format!("models.{model_type}"),
                detail: detail.to_owned(),
            });
        }
    }
    if base.iter().all(String::is_empty) {
        let problem = "the name of a checkpoint is missing".to_owned();
        return Err(AwsError::Field { field: format!("models.{BASE_MODEL}"), problem });
    }
    Ok(Named { checkpoints: base, networks })
}

/// What `override_settings` may set.
struct Settings {
    clip_skip: u32,
    vae: Option<String>,
}

/// Any other setting would be without effect and is refused.
fn override_settings(
    settings: Option<&Map<String, Value>>,
    checkpoints: &[String],
) -> Result<Settings, AwsError> {
    let (mut clip_skip, mut vae) = (1, None);
    for (name, value) in settings.into_iter().flatten() {
        let field = || format!("override_settings.{name}");
        match (name.as_str(), value) {
            ("CLIP_stop_at_last_layers", value) => {
                let whole = serde_json::from_value::<Option<Whole>>(value.clone())
                    .map_err(|error| AwsError::Field { field: field(), problem: error.to_string() })?;
                clip_skip = natural("override_settings.CLIP_stop_at_last_layers", whole, 1)?;
            }
            // A1111 writes the hash of the checkpoint behind its name.
            ("sd_model_checkpoint", Value::String(asked))
                if checkpoints.first().is_some_and(|name| {
                    asked == name
                        || asked.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(" ["))
                }) => {}
            ("sd_vae", Value::String(choice)) => {
                vae = Some(choice.clone()).filter(|choice| !NO_VAE.contains(&choice.as_str()));
            }
            (_, Value::Null) => {}
            _ => {
                let detail =
                    "CLIP_stop_at_last_layers and sd_vae are the settings that are; leave the others out"
                        .to_owned();
                return Err(AwsError::Feature { field: field(), detail });
            }
        }
    }
    Ok(Settings { clip_skip, vae })
}

fn natural(field: &str, value: Option<Whole>, default: u32) -> Result<u32, AwsError> {
    value.map_or(Ok(default), |Whole(number)| {
        let problem = format!("{number} is out of range");
        u32::try_from(number).map_err(|_| AwsError::Field { field: field.to_owned(), problem })
    })
}

/// -1, null or nothing: as A1111, any below 2^32, so that the number can be typed and fits everywhere.
fn seed(value: Option<Whole>) -> Result<u64, AwsError> {
    match value {
        None | Some(Whole(-1)) => Ok(u64::from(rand::random::<u32>())),
        Some(Whole(number)) => u64::try_from(number).map_err(|_| AwsError::Field {
            field: "seed".into(),
            problem: format!("{number} is out of range; -1 (random) or 0 to {} is allowed", u64::MAX),
        }),
    }
}

/// Names a field of the normal form as this dialect does.
fn in_our_words(error: SubmitError) -> AwsError {
    let SubmitError::Invalid(InvalidRequest { field, value, allowed }) = error else { return error.into() };
    let field = match field {
        "guidance scale" => "cfg_scale",
        "clip skip" => "override_settings.CLIP_stop_at_last_layers",
        "number of pictures (batch size × batch count)" => "batch_size × n_iter",
        same => same,
    };
    AwsError::Submit(SubmitError::Invalid(InvalidRequest { field, value, allowed }))
}

#[cfg(test)]
mod tests {
    use easel_protocol::Schedule;
    use serde_json::json;

    use super::super::json;
    use super::*;

    fn wish(body: &Value) -> Result<Wish, AwsError> {
        translate(json::parse(body.to_string().as_bytes())?)
    }

    fn with(extra: Value) -> Value {
        let mut body = json!({
            "task_type": "txt2img", "models": {"Stable-diffusion": ["m.safetensors"]}, "sagemaker_endpoint_name": "demo",
        });
        for (name, value) in extra.as_object().expect("an object") {
            body[name] = value.clone();
        }
        body
    }

    #[test]
    fn what_is_left_out_gets_the_templates_default() {
        let Wish { request, endpoint, checkpoints, .. } =
            wish(&with(json!({"prompt": "a"}))).expect("translates");
        assert_eq!((endpoint.as_deref(), checkpoints), (Some("demo"), vec!["m.safetensors".to_owned()]));
        assert!(request.seed <= u64::from(u32::MAX));
        let want = GenerationRequest {
            task: Task::TextToImage,
            prompt: "a".into(),
            negative_prompt: String::new(),
            checkpoint: String::new(),
            width: 512,
            height: 512,
            steps: 28,
            guidance_scale: 7.0,
            sampler: Sampler::EulerAncestral,
            schedule: Schedule::Automatic,
            seed: request.seed,
            batch_size: 1,
            batch_count: 1,
            clip_skip: 1,
            eta: None,
            networks: Vec::new(),
        };
        assert_eq!(request, want);
    }

    #[test]
    fn every_field_reaches_the_normal_form() {
        let body = with(json!({
            "prompt": "p", "negative_prompt": "n", "seed": 18_446_744_073_709_551_615_u64, "sampler_index": "DPM++ 2M Karras",
            "batch_size": 2, "n_iter": "3", "steps": 20.0, "cfg_scale": "6.5", "width": 64, "height": 128, "eta": 0.5,
            "override_settings": {"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": "m.safetensors [abc]", "sd_vae": "None"},
            "denoising_strength": 0.75, "unknown": {"x": []},
        }));
        let request = wish(&body).expect("translates").request;
        assert_eq!((request.prompt.as_str(), request.negative_prompt.as_str()), ("p", "n"));
        assert_eq!((request.width, request.height, request.steps), (64, 128, 20));
        assert_eq!((request.batch_size, request.batch_count, request.clip_skip), (2, 3, 2));
        assert_eq!((request.guidance_scale, request.eta, request.seed), (6.5, Some(0.5), u64::MAX));
        assert_eq!((request.sampler, request.schedule), (Sampler::DpmPlusPlus2M, Schedule::Karras));
    }

    #[test]
    fn the_sampler_is_the_name_then_the_index() {
        let sampler = |extra| wish(&with(extra)).expect("translates").request.sampler;
        assert_eq!(sampler(json!({"sampler_name": "Euler", "sampler_index": "DDIM"})), Sampler::Euler);
        assert_eq!(sampler(json!({"sampler_name": null, "sampler_index": "DDIM"})), Sampler::Ddim);
        assert_eq!(sampler(json!({"sampler_name": "", "sampler_index": "DDIM"})), Sampler::Ddim);
    }

    #[test]
    fn networks_are_listed_and_the_autoencoder_is_chosen() {
        let models = json!({"Stable-diffusion": ["m"], "Lora": ["l", ""], "embeddings": ["e"], "VAE": ["None"],
            "hypernetworks": null, "ControlNet": []});
        let wished =
            wish(&with(json!({"models": models, "override_settings": {"sd_vae": "mse.pt"}}))).expect("good");
        let names: Vec<_> = wished.networks.iter().map(|(kind, name)| (*kind, name.as_str())).collect();
        assert_eq!(names, [(NetworkKind::Lora, "l"), (NetworkKind::TextualInversion, "e")]);
        assert_eq!(wished.vae.as_deref(), Some("mse.pt"));
        for neutral in ["None", "Automatic", ""] {
            let wished = wish(&with(json!({"override_settings": {"sd_vae": neutral}}))).expect("good");
            assert_eq!((wished.vae, wished.networks), (None, vec![]), "{neutral}");
        }
    }

    #[test]
    fn a_wrong_value_is_named() {
        let cases = [
            (json!({"task_type": "img2img"}), "task_type: \"img2img\" is not available; txt2img is"),
            (json!({"task_type": null}), "task_type: it is missing; txt2img is available"),
            (json!({"models": {}}), "models.Stable-diffusion: the name of a checkpoint is missing"),
            (json!({"models": {"Stable-diffusion": [""]}}), "models.Stable-diffusion: the name"),
            (
                json!({"models": {"Stable-diffusion": ["m"], "ControlNet": ["c"]}}),
                "models.ControlNet asks for something that is not available here; Stable-diffusion, Lora, hyper",
            ),
            (
                json!({"sampler_name": "Warp 9"}),
                "sampler_name: sampler \"Warp 9\" is not known; known are Euler,",
            ),
            (json!({"steps": -1}), "steps: -1 is out of range"),
            (json!({"width": "wide"}), "width: \"wide\" is not a whole number"),
            (json!({"seed": -2}), "seed: -2 is out of range; -1 (random) or 0 to 18446744073709551615"),
            (
                json!({"override_settings": {"eta_noise_seed_delta": 1}}),
                "override_settings.eta_noise_seed_delta asks",
            ),
            (
                json!({"override_settings": {"sd_model_checkpoint": "x"}}),
                "override_settings.sd_model_checkpoint asks",
            ),
            (
                json!({"override_settings": {"CLIP_stop_at_last_layers": "x"}}),
                "override_settings.CLIP_stop_at",
            ),
        ];
        for (extra, want) in cases {
            let error = wish(&with(extra)).err().map(|error| error.to_string()).expect(want);
            assert!(error.starts_with(want), "{error}");
        }
    }
}
