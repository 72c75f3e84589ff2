//! The Kubernetes objects of the tests.

/// The key that `apikey` stands for.
pub const KEY: &str = "key-of-the-team";
/// A key of another namespace.
pub const OTHER_KEY: &str = "key-of-the-others";
/// A key that may only use the Endpoint `busy`.
pub const BOUND_KEY: &str = "key-for-busy";
/// A key that may upload and nothing else.
pub const MODELS_KEY: &str = "key-for-models";
/// SHA-256 of the demo checkpoint.
pub const SHA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

pub const DEMO_MODEL: &str = r#"
apiVersion: easel.dev/v1alpha1
kind: Model
metadata: {name: demo-model, namespace: team, uid: model-uid}
spec:
  type: Checkpoint
  displayName: easel-demo.safetensors
  source: {upload: {files: [{name: weights.safetensors}]}}
status:
  conditions: [{type: Ready, status: "True", reason: Imported, message: stored, lastTransitionTime: "2026-01-01T00:00:00Z"}]
  files:
  - {name: weights.safetensors, key: models/team/demo-model/upload/weights.safetensors, sizeBytes: 4,
     sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
"#;

/// Not listed by any Endpoint.
pub const OTHER_MODEL: &str = r#"
apiVersion: easel.dev/v1alpha1
kind: Model
metadata: {name: unlisted, namespace: team, uid: unlisted-uid}
spec: {type: Checkpoint, source: {objectStore: {key: import/unlisted.safetensors}}}
status:
  conditions: [{type: Ready, status: "True", reason: Imported, message: stored, lastTransitionTime: "2026-01-01T00:00:00Z"}]
  files:
  - {name: unlisted.safetensors, key: import/unlisted.safetensors, sizeBytes: 4,
     sha256: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb}
"#;

/// Listed, but its upload has not come.
pub const WAITING_MODEL: &str = r#"
apiVersion: easel.dev/v1alpha1
kind: Model
metadata: {name: waiting, namespace: team, uid: waiting-uid}
spec: {type: Checkpoint, source: {upload: {files: [{name: a.safetensors, sizeBytes: 6}, {name: b.safetensors}]}}}
status:
  conditions: [{type: Ready, status: "False", reason: WaitingForUpload, message: send the files, lastTransitionTime: "2026-01-01T00:00:00Z"}]
"#;

pub const HTTP_MODEL: &str = r#"
apiVersion: easel.dev/v1alpha1
kind: Model
metadata: {name: web, namespace: team, uid: web-uid}
spec:
  type: Checkpoint
  source: {http: {url: "https://models.example/a/web.safetensors?token=1", headersSecretRef: {name: web-headers}}}
"#;

pub const DEMO_ENDPOINT: &str = r#"
apiVersion: easel.dev/v1alpha1
kind: Endpoint
metadata: {name: demo, namespace: team, uid: demo-uid, creationTimestamp: "2026-01-01T08:00:47Z"}
spec: {models: [{name: demo-model}, {name: waiting}], limits: {maxPixels: 1048576, maxSteps: 50, maxBatch: 4, timeoutSeconds: 60, maxPending: 100}}
status:
  readyReplicas: 1
  conditions: [{type: Ready, status: "True", reason: Ready, message: serving, lastTransitionTime: "2026-01-01T08:12:55Z"}]
"#;

/// One job may wait, no more.
pub const BUSY_ENDPOINT: &str = r#"
apiVersion: easel.dev/v1alpha1
kind: Endpoint
metadata: {name: busy, namespace: team, uid: busy-uid, creationTimestamp: "2026-01-02T00:00:00Z"}
spec: {models: [{name: demo-model}], limits: {maxPending: 1}}
status:
  readyReplicas: 1
  conditions: [{type: Ready, status: "True", reason: Ready, message: serving, lastTransitionTime: "2026-01-02T00:00:09Z"}]
"#;

pub const STARTING_ENDPOINT: &str = r#"
apiVersion: easel.dev/v1alpha1
kind: Endpoint
metadata: {name: starting, namespace: team, uid: starting-uid, creationTimestamp: "2026-01-03T00:00:00Z"}
spec: {models: [{name: demo-model}]}
status:
  conditions: [{type: Ready, status: "False", reason: Unschedulable, message: no node has room, lastTransitionTime: "2026-01-03T00:00:01Z"}]
  lastFailure: {reason: Unschedulable, message: "0/1 nodes are available", retriable: true, time: "2026-01-03T00:00:01Z"}
"#;

pub const BROKEN_ENDPOINT: &str = r#"
apiVersion: easel.dev/v1alpha1
kind: Endpoint
metadata: {name: broken, namespace: team, uid: broken-uid, creationTimestamp: "2026-01-04T00:00:00Z"}
spec: {models: [{name: demo-model}]}
status:
  conditions:
  - {type: Ready, status: "False", reason: ModelLoadFailed, message: not serving, lastTransitionTime: "2026-01-04T00:00:01Z"}
  - {type: Stalled, status: "True", reason: ModelLoadFailed, message: header length lies, lastTransitionTime: "2026-01-04T00:00:02Z"}
"#;

/// The same name in another namespace.
pub const FOREIGN_ENDPOINT: &str = r#"
apiVersion: easel.dev/v1alpha1
kind: Endpoint
metadata: {name: foreign, namespace: others, uid: foreign-uid, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {models: [{name: demo-model}]}
status:
  readyReplicas: 1
  conditions: [{type: Ready, status: "True", reason: Ready, message: serving, lastTransitionTime: "2026-01-01T00:00:00Z"}]
"#;

/// Its folder in the object store is `training/team/run/train-ui/`.
pub const TRAINING: &str = r#"
apiVersion: easel.dev/v1alpha1
kind: TrainingJob
metadata: {name: run, namespace: team, uid: train-uid, creationTimestamp: "2026-01-01T00:00:00Z"}
spec:
  method: Lora
  baseModel: {name: demo-model}
  concepts: [{dataset: {name: cats}, instancePrompt: photo of sks}]
  output: {modelName: style}
  hyperparameters: {steps: 20, resolution: 128, learningRate: "1e-3"}
  lora: {rank: 8}
  checkpoints: {everySteps: 5, keep: 1}
  samples: {everySteps: 5, prompts: [a red circle, a blue square]}
"#;

pub const CATS: &str = r#"
apiVersion: easel.dev/v1alpha1
kind: Dataset
metadata: {name: cats, namespace: team, uid: cats-uid, creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "1"}
spec:
  datasetName: My Cats
  description: pictures of cats
  items:
  - {name: a.png, caption: a cat, mediaType: image/png}
  - {name: b.png, state: Disabled}
  - {name: c.png, key: import/c.png, sizeBytes: 7}
"#;

/// The same name in another namespace.
pub const FOREIGN_DATASET: &str = r#"
apiVersion: easel.dev/v1alpha1
kind: Dataset
metadata: {name: cats, namespace: others, uid: foreign-cats-uid, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {items: [{name: secret.png}]}
"#;

/// An ApiKey for a plain key.
pub fn api_key(namespace: &str, name: &str, plain: &str, rest: &str) -> String {
    use sha2::{Digest, Sha256};
    let hash = hex::encode(Sha256::digest(plain));
    format!(
        "apiVersion: easel.dev/v1alpha1\nkind: ApiKey\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{keySha256: \"{hash}\"{rest}}}\n"
    )
}
