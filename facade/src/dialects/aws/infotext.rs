//! The file `<id>_param.json` beside the pictures: what A1111's API answers, for the client's "info" box.

use bytes::Bytes;
use easel_protocol::{GenerationRequest, Schedule};
use easel_store::jobs::{CompletionRecord, Job};
use serde_json::{Value, json};

use super::record;
use crate::dialects::Document;

/// The document of a job that its worker has completed.
pub fn result_document(job: &Job, completed: &CompletionRecord) -> Document {
    let model_name = record::kept(job).used_models.into_values().flatten().next().map(|used| used.model_name);
    let info =
        info(&job.request, &completed.infotexts, model_name.as_deref().unwrap_or(&job.request.checkpoint));
    let body = json!({
        "parameters": parameters(&job.request),
        // A string of JSON within JSON: clients parse it once more.
        "info": info.to_string(),
        // The service's own spelling; some clients read it.
        "endpont_name": job.endpoint,
        "endpoint_name": job.endpoint,
        "inference_id": job.id.to_string(),
        "sns_info": "",
    });
    Document {
        name: record::param_name(job),
        body: Bytes::from(body.to_string()),
        content_type: "application/json",
    }
}

fn sampler_name(request: &GenerationRequest) -> String {
    match request.schedule {
        Schedule::Automatic => request.sampler.name().to_owned(),
        schedule => format!("{} {}", request.sampler.name(), schedule.name()),
    }
}

/// The request in A1111's words.
fn parameters(request: &GenerationRequest) -> Value {
    json!({
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": request.seed,
        "sampler_name": sampler_name(request),
        "sampler_index": sampler_name(request),
        "batch_size": request.batch_size,
        "n_iter": request.batch_count,
        "steps": request.steps,
        "cfg_scale": request.guidance_scale,
        "width": request.width,
        "height": request.height,
        "eta": request.eta,
        "enable_hr": false,
        "restore_faces": false,
        "tiling": false,
        "styles": [],
        "override_settings": {"CLIP_stop_at_last_layers": request.clip_skip},
    })
}

/// What A1111 writes about the pictures.
fn info(request: &GenerationRequest, infotexts: &[String], model_name: &str) -> Value {
    let pictures = request.pictures() as usize;
    let seeds: Vec<u64> =
        (0..u64::from(request.pictures())).map(|picture| request.seed.wrapping_add(picture)).collect();
    json!({
        "prompt": request.prompt,
        "all_prompts": vec![&request.prompt; pictures],
        "negative_prompt": request.negative_prompt,
        "all_negative_prompts": vec![&request.negative_prompt; pictures],
        "seed": request.seed,
        "all_seeds": seeds,
        "subseed": request.seed,
        "all_subseeds": vec![request.seed; pictures],
        "subseed_strength": 0,
        "width": request.width,
        "height": request.height,
        "sampler_name": sampler_name(request),
        "cfg_scale": request.guidance_scale,
        "steps": request.steps,
        "batch_size": request.batch_size,
        "restore_faces": false,
        "face_restoration_model": null,
        "sd_model_name": model_name,
        "seed_resize_from_w": 0,
        "seed_resize_from_h": 0,
        "denoising_strength": null,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": infotexts,
        "styles": [],
        "clip_skip": request.clip_skip,
        "is_using_inpainting_conditioning": false,
    })
}
