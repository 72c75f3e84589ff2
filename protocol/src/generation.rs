//! The normal form of a generation request: what every dialect is translated to, what the job store
//! keeps, and what a worker is handed.

use serde::{Deserialize, Serialize};

use crate::networks::{MAX_NETWORKS, NetworkRef};
use crate::{Sampler, Schedule};

/// What is asked for. Modes that start from a picture join as variants of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    TextToImage,
}

/// One request for one or more pictures, complete: no field is left to a default of the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationRequest {
    pub task: Task,
    /// A1111 prompt grammar.
    pub prompt: String,
    #[serde(default)]
    pub negative_prompt: String,
    /// Name of the Model object (in the endpoint's namespace) of type Checkpoint.
    pub checkpoint: String,
    /// Pixels; a multiple of 8.
    pub width: u32,
    /// Pixels; a multiple of 8.
    pub height: u32,
    pub steps: u32,
    /// Classifier-free guidance; 1 skips the unconditional pass.
    pub guidance_scale: f64,
    pub sampler: Sampler,
    #[serde(default)]
    pub schedule: Schedule,
    /// Seed of the first picture; picture i uses seed + i. A dialect resolves "random" before the
    /// job is stored, so that a second attempt renders the same pictures.
    pub seed: u64,
    /// Pictures rendered in one forward pass.
    pub batch_size: u32,
    /// How many batches one after the other.
    pub batch_count: u32,
    /// 1 = the last layer of the text encoder.
    pub clip_skip: u32,
    /// Stochasticity of DDIM and the ancestral samplers; unset = the sampler's own default.
    #[serde(default)]
    pub eta: Option<f64>,
    /// What the prompts need besides the checkpoint. Filled when the job is taken; each name once per kind, and one
    /// autoencoder at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkRef>,
}

/// Bounds of an Endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestLimits {
    /// Largest width × height.
    pub max_pixels: u64,
    pub max_steps: u32,
    /// Largest batch_size × batch_count.
    pub max_pictures: u32,
    /// Longest prompt, in characters.
    pub max_prompt_chars: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { max_pixels: 2048 * 2048, max_steps: 150, max_pictures: 16, max_prompt_chars: 20_000 }
    }
}

/// A value outside its range: which field, what it was, what is allowed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field} is {value}; {allowed}")]
pub struct InvalidRequest {
    pub field: &'static str,
    pub value: String,
    pub allowed: String,
}

fn invalid(field: &'static str, value: impl ToString, allowed: impl Into<String>) -> InvalidRequest {
    InvalidRequest { field, value: value.to_string(), allowed: allowed.into() }
}

impl GenerationRequest {
    /// How many pictures the request makes.
    pub fn pictures(&self) -> u32 {
        self.batch_size.saturating_mul(self.batch_count)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The first field that is out of its range, with the limit.
    pub fn validate(&self, limits: &RequestLimits) -> Result<(), InvalidRequest> {
        for (field, text) in [("prompt", &self.prompt), ("negative_prompt", &self.negative_prompt)] {
            let chars = text.chars().count();
            if chars > limits.max_prompt_chars {
                let allowed = format!("at most {} characters are allowed", limits.max_prompt_chars);
                return Err(invalid(field, format!("{chars} characters long"), allowed));
            }
        }
        for (field, size) in [("width", self.width), ("height", self.height)] {
            if size < 64 || size % 8 != 0 {
                return Err(invalid(field, size, "a multiple of 8, 64 or more, is needed"));
            }
        }
        let pixels = u64::from(self.width) * u64::from(self.height);
        if pixels > limits.max_pixels {
            let allowed = format!("at most {} pixels are allowed by the endpoint", limits.max_pixels);
            return Err(invalid("width × height", pixels, allowed));
        }
        if self.steps == 0 || self.steps > limits.max_steps {
            return Err(invalid("steps", self.steps, format!("1 to {} are allowed", limits.max_steps)));
        }
        if !(1.0..=50.0).contains(&self.guidance_scale) {
            return Err(invalid("guidance scale", self.guidance_scale, "1 to 50 is allowed"));
        }
        let pictures = self.pictures();
        if pictures == 0 || pictures > limits.max_pictures {
            let allowed = format!("1 to {} are allowed", limits.max_pictures);
            return Err(invalid("number of pictures (batch size × batch count)", pictures, allowed));
        }
        if !(1..=12).contains(&self.clip_skip) {
            return Err(invalid("clip skip", self.clip_skip, "1 to 12 is allowed"));
        }
        if let Some(eta) = self.eta.filter(|eta| !(0.0..=1.0).contains(eta)) {
            return Err(invalid("eta", eta, "0 to 1 is allowed"));
        }
        if self.networks.len() > MAX_NETWORKS {
            let allowed = format!("at most {MAX_NETWORKS} are allowed");
            return Err(invalid("number of networks in the prompts", self.networks.len(), allowed));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> GenerationRequest {
        GenerationRequest {
            task: Task::TextToImage,
            prompt: "a red circle".into(),
            negative_prompt: String::new(),
            checkpoint: "demo".into(),
            width: 64,
            height: 64,
            steps: 20,
            guidance_scale: 7.0,
            sampler: Sampler::Euler,
            schedule: Schedule::Automatic,
            seed: 1,
            batch_size: 1,
            batch_count: 1,
            clip_skip: 1,
            eta: None,
            networks: Vec::new(),
        }
    }

    fn network() -> NetworkRef {
        let kind = crate::NetworkKind::Lora;
        NetworkRef { kind, name: "ink".into(), model: "ink-1".into(), sha256: "ab".repeat(32) }
    }

    #[test]
    fn jobs_that_were_stored_before_there_were_networks_can_still_be_read() {
        let stored = serde_json::to_value(good()).unwrap();
        assert!(stored.get("networks").is_none(), "nor does an older facade see what it does not know");
        assert_eq!(serde_json::from_value::<GenerationRequest>(stored).unwrap(), good());
        let request = GenerationRequest { networks: vec![network()], ..good() };
        let stored = serde_json::to_value(&request).unwrap();
        assert_eq!(stored["networks"][0]["kind"], "Lora");
        assert_eq!(serde_json::from_value::<GenerationRequest>(stored).unwrap(), request);
    }

    #[test]
    fn each_range_names_its_field_and_limit() {
        type Break = fn(&mut GenerationRequest);
        let cases: [(Break, &str); 10] = [
            (
                |r| r.prompt = "x".repeat(20_001),
                "prompt is 20001 characters long; at most 20000 characters are allowed",
            ),
            (|r| r.width = 65, "width is 65; a multiple of 8, 64 or more, is needed"),
            (|r| r.height = 0, "height is 0; a multiple of 8, 64 or more, is needed"),
            (
                |r| (r.width, r.height) = (8192, 8192),
                "width × height is 67108864; at most 4194304 pixels are allowed by the endpoint",
            ),
            (|r| r.steps = 0, "steps is 0; 1 to 150 are allowed"),
            (|r| r.guidance_scale = f64::NAN, "guidance scale is NaN; 1 to 50 is allowed"),
            (
                |r| r.batch_size = u32::MAX,
                "number of pictures (batch size × batch count) is 4294967295; 1 to 16 are allowed",
            ),
            (|r| r.clip_skip = 0, "clip skip is 0; 1 to 12 is allowed"),
            (|r| r.eta = Some(2.0), "eta is 2; 0 to 1 is allowed"),
            (
                |r| r.networks = vec![network(); 65],
                "number of networks in the prompts is 65; at most 64 are allowed",
            ),
        ];
        assert_eq!(good().validate(&RequestLimits::default()), Ok(()));
        for (spoil, want) in cases {
            let mut request = good();
            spoil(&mut request);
            let error = request.validate(&RequestLimits::default()).expect_err(want);
            assert_eq!(error.to_string(), want);
        }
    }
}
