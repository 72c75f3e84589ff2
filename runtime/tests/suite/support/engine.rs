//! An engine without weights. The prompt says what a request does; a gate says when it goes on.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use easel_diffusion::Picture;
use easel_protocol::{GenerationRequest, NetworkKind};
use easel_runtime::engine::{
    Engine, EngineError, LoadedModel, LoadedNetwork, ModelLabel, NamedNetwork, OnProgress, StepProgress,
};

#[derive(Default)]
pub struct FakeEngine {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    loads: AtomicUsize,
    network_loads: AtomicUsize,
    begun: AtomicUsize,
    stopped: AtomicUsize,
    open: Mutex<bool>,
    changed: Condvar,
}

impl FakeEngine {
    /// How many models were loaded.
    pub fn loads(&self) -> usize {
        self.shared.loads.load(Ordering::SeqCst)
    }

    /// How many networks were loaded.
    pub fn network_loads(&self) -> usize {
        self.shared.network_loads.load(Ordering::SeqCst)
    }

    /// How many requests were begun.
    pub fn begun(&self) -> usize {
        self.shared.begun.load(Ordering::SeqCst)
    }

    /// How many requests ended because they were told to.
    pub fn stopped(&self) -> usize {
        self.shared.stopped.load(Ordering::SeqCst)
    }

    /// Lets requests with the prompt "hold" go on.
    pub fn open_gate(&self) {
        *self.shared.open.lock().unwrap() = true;
        self.shared.changed.notify_all();
    }
}

impl Engine for FakeEngine {
    fn load(&self, path: &Path, label: &ModelLabel) -> Result<Arc<dyn LoadedModel>, EngineError> {
        // Of a folder the weights that a real engine would look for first.
        let unet = path.join("unet/diffusion_pytorch_model.safetensors");
        let bytes = std::fs::read(if path.is_dir() { &unet } else { path }).unwrap();
        if bytes.starts_with(b"unsupported") {
            let message = format!("{} is no model", label.file_name);
            return Err(EngineError::failed("UnsupportedModel", message, false));
        }
        self.shared.loads.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(FakeModel {
            shared: self.shared.clone(),
            weight_bytes: bytes.len() as u64,
            kept: AtomicUsize::new(0),
        }))
    }

    fn load_network(
        &self,
        path: &Path,
        kind: NetworkKind,
        label: &ModelLabel,
    ) -> Result<Arc<dyn LoadedNetwork>, EngineError> {
        let bytes = std::fs::read(path).unwrap();
        if bytes.starts_with(b"unsupported") {
            let message = format!("{} is no {kind:?}", label.file_name);
            return Err(EngineError::failed("NotAnAdapter", message, false));
        }
        self.shared.network_loads.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(FakeNetwork { text: String::from_utf8(bytes).unwrap() }))
    }
}

struct FakeNetwork {
    text: String,
}

impl LoadedNetwork for FakeNetwork {
    fn bytes(&self) -> u64 {
        self.text.len() as u64
    }
}

struct FakeModel {
    shared: Arc<Shared>,
    weight_bytes: u64,
    /// What requests with networks have left behind.
    kept: AtomicUsize,
}

impl LoadedModel for FakeModel {
    fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    fn kept_bytes(&self) -> u64 {
        self.kept.load(Ordering::SeqCst) as u64
    }

    fn shrink(&self, most: u64) {
        let kept = self.kept.load(Ordering::SeqCst).min(usize::try_from(most).unwrap());
        self.kept.store(kept, Ordering::SeqCst);
    }

    fn generate(
        &self,
        request: &GenerationRequest,
        networks: &[NamedNetwork],
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Vec<Picture>, EngineError> {
        let used: String = networks
            .iter()
            .map(|named| {
                let network: &dyn std::any::Any = &*named.network;
                let FakeNetwork { text } = network.downcast_ref().expect("of this engine");
                self.kept.fetch_add(text.len(), Ordering::SeqCst);
                format!("\n{:?} {}: {text}", named.kind, named.name)
            })
            .collect();
        self.shared.begun.fetch_add(1, Ordering::SeqCst);
        match request.prompt.as_str() {
            "panic" => panic!("a bug in a kernel"),
            "fail" => return Err(EngineError::failed("PromptTooOdd", "the prompt is too odd", false)),
            "hold" => self.hold(request, on_progress)?,
            _ => {}
        }
        for step in 1..=request.steps {
            self.step(step, request, on_progress)?;
        }
        let picture = |index| Picture {
            rgb: image::RgbImage::from_pixel(request.width, request.height, image::Rgb([200, 10, 10])),
            seed: request.seed + index,
            infotext: format!("{}\nSeed: {}{used}", request.prompt, request.seed + index),
        };
        Ok((0..u64::from(request.pictures())).map(picture).collect())
    }
}

impl FakeModel {
    /// Takes one step after the other until the gate opens.
    fn hold(&self, request: &GenerationRequest, on_progress: &mut OnProgress<'_>) -> Result<(), EngineError> {
        let mut open = self.shared.open.lock().unwrap();
        while !*open {
            self.step(0, request, on_progress)?;
            open = self.shared.changed.wait_timeout(open, Duration::from_millis(5)).unwrap().0;
        }
        Ok(())
    }

    fn step(
        &self,
        step: u32,
        request: &GenerationRequest,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<(), EngineError> {
        if on_progress(StepProgress { stage: "Denoising", step, total: request.steps }).is_break() {
            self.shared.stopped.fetch_add(1, Ordering::SeqCst);
            return Err(EngineError::Stopped);
        }
        Ok(())
    }
}
