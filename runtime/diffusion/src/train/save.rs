//! What was trained, as the files that this engine and others read.
//!
//! Layouts: kohya-ss' `networks/lora.py` for LoRA, the web UI's and kohya's safetensors for embeddings, the
//! flattened names of the web UI's hypernetworks, CompVis' and Stability's single files for whole models.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::inspect::PredictionType;
use crate::layout::LdmWriter;
use crate::weights::WeightError;

use super::error::TrainError;
use super::file::{SavePrecision, write};
use super::lora::LoraModule;
use super::plan::Output;
use super::trainee::Trainee;

impl Trainee {
    /// Writes a file that [`Adapter`](crate::adapters::Adapter),
    /// [`Hypernetwork`](crate::adapters::Hypernetwork), [`Embedding`](crate::text::Embedding) or
    /// [`Pipeline`](crate::Pipeline) reads, whichever was trained. What the reader needs to know is added to
    /// `metadata`, in place of what stands there. A scale of latents other than the family's, which folders
    /// may have, cannot be said in a single file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(
        &self,
        path: &Path,
        metadata: &BTreeMap<String, String>,
        precision: SavePrecision,
    ) -> Result<(), TrainError> {
        let mut metadata = metadata.clone();
        let mut said = |key: &str, value: String| drop(metadata.insert(key.to_owned(), value));
        let tensors = match &self.output {
            Output::Lora(modules) => self.lora(modules)?,
            Output::Embedding { name } => {
                said("name", name.clone());
                self.values()
            }
            Output::Hypernetwork(settings) => {
                said("activation_func", settings.activation.clone());
                said("activate_output", settings.activate_output.to_string());
                said("use_dropout", false.to_string());
                self.values()
            }
            Output::Model => self.model()?,
        };
        write(path, &tensors, &metadata, precision)
    }

    /// The variables by name.
    fn values(&self) -> BTreeMap<String, Tensor> {
        self.variables().iter().map(|v| (v.name.clone(), v.var.as_detached_tensor())).collect()
    }

    fn lora(&self, modules: &[LoraModule]) -> Result<BTreeMap<String, Tensor>, TrainError> {
        let mut tensors = self.values();
        for module in modules {
            let alpha = Tensor::new(module.alpha as f32, &Device::Cpu);
            let alpha = alpha.map_err(TrainError::tensor("a tensor to be written"))?;
            tensors.insert(format!("{}.alpha", module.key), alpha);
        }
        Ok(tensors)
    }

    /// All networks, the trained and the others; what no network reads was not kept.
    fn model(&self) -> Result<BTreeMap<String, Tensor>, TrainError> {
        let failed = TrainError::tensor("a tensor to be written");
        let mut all = self.values();
        let weights = self.pipeline.weights();
        for (name, _) in weights.shapes() {
            if all.contains_key(name) || name.starts_with("taesd.") {
                continue;
            }
            match weights.tensor(name) {
                Ok(tensor) => drop(all.insert(name.to_owned(), tensor)),
                Err(WeightError::Missing { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let dropped = self.pipeline.text_encoder().clip().config().last_layer_dropped;
        let writer = LdmWriter::new(self.pipeline.family(), dropped, &all);
        let mut tensors = writer.tensors(&all).map_err(&failed)?;
        let training = self.pipeline.training();
        let is_v = self.pipeline.prediction_type() == PredictionType::VPrediction;
        // Marks as trainers leave them.
        for (mark, is_there) in [("v_pred", is_v), ("ztsnr", training.zero_terminal_snr)] {
            if is_there {
                let empty = Tensor::zeros(0, DType::F32, &Device::Cpu).map_err(&failed)?;
                tensors.insert(mark.to_owned(), empty);
            }
        }
        Ok(tensors)
    }
}
