//! Tiny models of every family, made from the seeds that `golden/families/make.py` used.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use candle_core::{DType, Device, Tensor, safetensors};
use easel_diffusion::random::TorchRng;
use half::{bf16, f16};
use serde_json::Value;

use crate::golden::{Tensors, path};

/// A network of the description: its tensors, and what they are called in single files.
pub struct Component {
    name: String,
    json: &'static Value,
}

/// One of `components.json`.
pub fn component(name: &str) -> Component {
    static ALL: OnceLock<Value> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let text = fs::read_to_string(path("families/components.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    });
    Component { name: name.to_owned(), json: all.get(name).unwrap_or_else(|| panic!("no component {name}")) }
}

impl Component {
    pub fn config(&self) -> &Value {
        &self.json["config"]
    }

    /// The tensors under diffusers' names: tensor number i of component c has the seed 1000·c + i.
    pub fn tensors(&self) -> Tensors {
        static DRAWN: Mutex<BTreeMap<String, Tensors>> = Mutex::new(BTreeMap::new());
        // Held while drawing, so that no two tests draw the same vocabulary.
        let mut drawn = DRAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        drawn.entry(self.name.clone()).or_insert_with(|| self.draw()).clone()
    }

    fn draw(&self) -> Tensors {
        let first = self.json["number"].as_u64().unwrap() * 1000;
        let list = self.json["tensors"].as_array().unwrap();
        list.iter()
            .enumerate()
            .map(|(i, row)| {
                let name = row[0].as_str().unwrap();
                let shape: Vec<usize> =
                    row[1].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
                (name.to_owned(), draw(name, &shape, first + i as u64))
            })
            .collect()
    }

    /// The tensors under the names of single files, behind `prefix`.
    pub fn single_file(&self, prefix: &str) -> Tensors {
        let own = self.tensors();
        let all = |names: &Value| -> Vec<Tensor> {
            names.as_array().unwrap().iter().map(|n| own[n.as_str().unwrap()].clone()).collect()
        };
        let made = |source: &Value| match source {
            Value::String(name) => own[name].clone(),
            _ if source.get("turned").is_some() => {
                own[source["turned"].as_str().unwrap()].t().unwrap().contiguous().unwrap()
            }
            _ => Tensor::cat(&all(&source["stacked"]), 0).unwrap(),
        };
        let rows = self.json["ldm"].as_object().unwrap();
        rows.iter().map(|(name, source)| (format!("{prefix}{name}"), made(source))).collect()
    }
}

/// As `draw` in the script: normal numbers, scaled, and rounded to what bf16 and f16 both hold.
fn draw(name: &str, shape: &[usize], seed: u64) -> Tensor {
    let count = shape.iter().product::<usize>().max(1);
    let fan_in: usize = shape.iter().skip(1).product();
    let scale = (fan_in as f64).powf(-0.5) as f32;
    let values: Vec<f32> = TorchRng::new(seed)
        .randn(count)
        .into_iter()
        .map(|v| match shape.len() {
            1 if name.ends_with("weight") => v * 0.2 + 1.0,
            1 => v * 0.1,
            _ => v * scale,
        })
        .map(|v| f16::from_f32(bf16::from_f32(v).to_f32()).to_f32())
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Which components make a model, and where its text encoders stand in a single file.
pub struct Model {
    pub unet: &'static str,
    pub texts: &'static [(&'static str, &'static str, &'static str)],
}

const CLIP: (&str, &str, &str) = ("text-clip", "cond_stage_model.", "text_encoder");

/// Every model by name; texts are component, prefix in a single file, folder.
pub fn model(name: &'static str) -> Model {
    let texts: &[_] = match name {
        "sd2" => &[("text-open", "cond_stage_model.model.", "text_encoder")],
        "sdxl" => &[
            ("text-clip", "conditioner.embedders.0.", "text_encoder"),
            ("text-big", "conditioner.embedders.1.model.", "text_encoder_2"),
        ],
        "sdxl-refiner" => &[("text-big", "conditioner.embedders.0.model.", "text_encoder_2")],
        _ => &[CLIP],
    };
    Model { unet: name, texts }
}

impl Model {
    /// Everything that a single file holds.
    pub fn single_file(&self) -> Tensors {
        let mut all = component(self.unet).single_file("");
        all.extend(component("vae").single_file(""));
        for (text, prefix, _) in self.texts {
            all.extend(component(text).single_file(prefix));
        }
        all
    }

    /// A folder as `save_pretrained` writes it, with the scheduler's configuration given.
    pub fn folder(&self, scheduler: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |part: &str, file: &str, from: &Component| {
            let at = dir.path().join(part);
            fs::create_dir(&at).unwrap();
            save(&from.tensors(), &at.join(file), DType::F16);
            fs::write(at.join("config.json"), from.config().to_string()).unwrap();
        };
        write("unet", "diffusion_pytorch_model.safetensors", &component(self.unet));
        write("vae", "diffusion_pytorch_model.safetensors", &component("vae"));
        for (text, _, folder) in self.texts {
            write(folder, "model.safetensors", &component(text));
        }
        fs::create_dir(dir.path().join("scheduler")).unwrap();
        fs::write(dir.path().join("scheduler/scheduler_config.json"), scheduler).unwrap();
        dir
    }
}

pub fn save(tensors: &Tensors, path: &Path, dtype: DType) {
    let cast: HashMap<String, Tensor> =
        tensors.iter().map(|(name, t)| (name.clone(), t.to_dtype(dtype).unwrap())).collect();
    safetensors::save(&cast, path).unwrap();
}

/// A file of these tensors.
pub fn file(tensors: &Tensors, dtype: DType) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    save(tensors, file.path(), dtype);
    file
}

/// The largest differences between the reference in f32 and in f64.
pub fn spread(name: &str) -> f32 {
    static ALL: OnceLock<BTreeMap<String, f64>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        serde_json::from_str(&fs::read_to_string(path("families/spread.json")).unwrap()).unwrap()
    });
    all[name] as f32
}
