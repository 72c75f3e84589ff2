//! The side of a REST client: what existing clients of the AWS extension API send and read.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use image::RgbImage;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A caller with a key.
#[derive(Clone)]
pub struct Rest {
    pub url: String,
    pub key: String,
    http: reqwest::Client,
}

/// A reply, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub text: String,
}

impl Reply {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
}

impl Rest {
    /// A client whose calls end after 30 s.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(url: &str, key: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), key: key.to_owned(), http })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When no reply came.
    pub async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> anyhow::Result<Reply> {
        let request = self.http.request(method, format!("{}{path}", self.url)).header("x-api-key", &self.key);
        let reply = request.body(body).send().await.with_context(|| path.to_owned())?;
        Ok(Reply { status: reply.status(), text: reply.text().await? })
    }

    /// # Errors
    /// When no reply came.
    pub async fn get(&self, path: &str) -> anyhow::Result<Reply> {
        self.send(Method::GET, path, Vec::new()).await
    }

    /// # Errors
    /// When no reply came.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Reply> {
        self.send(Method::POST, path, body.to_string().into_bytes()).await
    }

    /// `PUT /easel/v1/models/{model}/files/{file}`.
    ///
    /// # Errors
    /// When no reply came.
    pub async fn upload(&self, model: &str, file: &str, bytes: Vec<u8>) -> anyhow::Result<Reply> {
        self.send(Method::PUT, &format!("/easel/v1/models/{model}/files/{file}"), bytes).await
    }

    /// Posts an inference with the demo model's settings and returns its id.
    ///
    /// # Errors
    /// When it is not accepted, with the reply.
    pub async fn submit(
        &self,
        endpoint: &str,
        prompt: &str,
        steps: u32,
        seed: u32,
    ) -> anyhow::Result<String> {
        let reply = self.post("/inference-api/inference", &request(endpoint, prompt, steps, seed)).await?;
        let id = reply.json()["inference_id"].as_str().map(str::to_owned);
        id.with_context(|| format!("no inference_id in {} {}", reply.status, reply.text))
    }

    /// Polls as clients do until the job is no longer in progress.
    ///
    /// # Errors
    /// When it is still in progress after `seconds`.
    pub async fn finished(&self, id: &str, seconds: u64) -> anyhow::Result<Value> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            // A facade that restarts answers nothing for a moment: clients retry.
            let job = match self.get(&format!("/inference/get-inference-job?jobID={id}")).await {
                Ok(reply) if reply.status.is_success() => reply.json(),
                Ok(reply) => json!({"reply": reply.text}),
                Err(error) => json!({"error": error.to_string()}),
            };
            if matches!(job["status"].as_str(), Some("succeed" | "failed")) {
                return Ok(job);
            }
            if Instant::now() > deadline {
                bail!("job {id} is not finished after {seconds} s: {job}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The pictures of a finished job, through their presigned URLs, with no key.
    ///
    /// # Errors
    /// When one cannot be fetched or decoded.
    pub async fn pictures(&self, id: &str) -> anyhow::Result<Vec<RgbImage>> {
        let reply = self.get(&format!("/inference/get-inference-job-image-output?jobID={id}")).await?;
        let urls: Vec<String> = serde_json::from_str(&reply.text).with_context(|| reply.text.clone())?;
        let mut pictures = Vec::new();
        for url in urls {
            let bytes = self.http.get(&url).send().await?.error_for_status()?.bytes().await?;
            pictures.push(image::load_from_memory(&bytes).with_context(|| url)?.to_rgb8());
        }
        Ok(pictures)
    }
}

/// The body of `POST /inference-api/inference` for the demo model.
pub fn request(endpoint: &str, prompt: &str, steps: u32, seed: u32) -> Value {
    json!({
        "task_type": "txt2img",
        "sagemaker_endpoint_name": endpoint,
        "models": {"Stable-diffusion": ["easel-demo.safetensors"]},
        "prompt": prompt,
        "width": 64, "height": 64, "steps": steps, "cfg_scale": 4.0,
        "sampler_name": "DPM++ 2M Karras", "seed": seed,
    })
}
