//! Networks and the engine that draws: the demo model with networks that the test makes.

use easel_protocol::worker::{Completion, ModelFile};
use easel_protocol::{NetworkFile, NetworkKind};
use image::RgbImage;

use crate::support::{FakeFacade, TestWorker, demo_model, eventually, filled};

/// Low rank, small values, and a large alpha: the last attentions on the way up read the text otherwise.
fn lora() -> Vec<u8> {
    let mut tensors = Vec::new();
    for n in 0..3 {
        let stem = format!("lora_unet_up_blocks_3_attentions_{n}_transformer_blocks_0_attn2_to_v");
        tensors.push((format!("{stem}.lora_down.weight"), vec![2, 32], 0.02));
        tensors.push((format!("{stem}.lora_up.weight"), vec![64, 2], 0.02));
        tensors.push((format!("{stem}.alpha"), vec![], 4000.0));
    }
    filled(&tensors)
}

fn embedding() -> Vec<u8> {
    filled(&[("emb_params".to_owned(), vec![2, 32], 1.5)])
}

/// Keys and values of the text through two layers each.
fn hypernetwork() -> Vec<u8> {
    let tensors = ["0", "1"].iter().flat_map(|part| {
        [
            (format!("32.{part}.linear.0.weight"), vec![32, 32], 0.5),
            (format!("32.{part}.linear.0.bias"), vec![32], 0.5),
        ]
    });
    filled(&tensors.collect::<Vec<_>>())
}

/// The demo model's own autoencoder, but for the colour that it adds at its end.
fn vae() -> Vec<u8> {
    let mut file = demo_model();
    let length = usize::try_from(u64::from_le_bytes(file[..8].try_into().unwrap())).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let offsets = &header["first_stage_model.decoder.conv_out.bias"]["data_offsets"];
    let at = |n: usize| 8 + length + usize::try_from(offsets[n].as_u64().unwrap()).unwrap();
    // One half, as f16.
    file[at(0)..at(1)].chunks_mut(2).for_each(|value| value.copy_from_slice(&[0x00, 0x38]));
    file
}

struct Studio {
    facade: FakeFacade,
    model: ModelFile,
    worker: TestWorker,
}

impl Studio {
    async fn open() -> Self {
        let facade = FakeFacade::start().await;
        let model = facade.model("demo", &demo_model());
        facade.set("1", std::slice::from_ref(&model), &[]);
        let worker = TestWorker::start_real(&facade);
        Self { facade, model, worker }
    }

    /// Draws, and tells the picture and its parameters.
    async fn draw(&self, id: &str, prompt: &str, networks: &[&NetworkFile]) -> (RgbImage, String) {
        let mut job = self.facade.job(id, &self.model, prompt, 1);
        // The workers of other tests share the processor.
        (job.timeout_seconds, job.lease_seconds) = (600, 60);
        job.networks = networks.iter().map(|network| (*network).clone()).collect();
        self.facade.enqueue(job);
        let ended = || {
            let failed = self.facade.calls(&format!("{id}/fail"));
            assert!(failed.is_empty(), "{id}: {:?}", failed.first().map(|call| &call.body));
            self.facade.calls(&format!("{id}/complete")).pop()
        };
        let call = eventually("the job completes", ended).await;
        let infotext = serde_json::from_slice::<Completion>(&call.body).unwrap().infotexts.remove(0);
        let png = self.facade.calls(&format!("/objects/{id}/image_0.png")).pop().unwrap();
        (image::load_from_memory(&png.body).unwrap().to_rgb8(), infotext)
    }
}

/// Mean difference of the colour values.
fn distance(a: &RgbImage, b: &RgbImage) -> f64 {
    let sum: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.as_raw().len() as f64
}

#[tokio::test]
async fn a_lora_changes_the_pictures_that_name_it_and_no_others() {
    let studio = Studio::open().await;
    let prompt = "a red circle on a blue background";
    let (before, infotext) = studio.draw("before", prompt, &[]).await;
    assert!(!infotext.contains("hashes"), "{infotext}");
    // It came into being while the worker was running.
    let ink = studio.facade.network(NetworkKind::Lora, "ink", &lora());
    let named = format!("{prompt} <lora:ink:1>");
    let (with, infotext) = studio.draw("with", &named, &[&ink]).await;
    let changed = distance(&before, &with);
    assert!(changed > 2.0, "the picture differs by {changed} of 255");
    let (_, hash) = infotext.split_once(", Lora hashes: \"ink: ").expect(&infotext);
    assert!(hash.len() > 13 && hash.as_bytes()[12] == b'"', "twelve digits: {infotext}");

    let (again, _) = studio.draw("again", &named, &[&ink]).await;
    assert!(again == with, "the same request draws the same picture");
    let (zero, _) = studio.draw("zero", &format!("{prompt} <lora:ink:0>"), &[&ink]).await;
    assert!(zero == before, "a weight of zero changes nothing");
    let (half, _) = studio.draw("half", &format!("{prompt} <lora:ink:0.5>"), &[&ink]).await;
    assert!(half != with && half != before, "half the weight is something between");
    let (after, _) = studio.draw("after", prompt, &[]).await;
    assert!(after == before, "the model itself was not touched");

    let (_, metrics) = studio.worker.page("/metrics").await;
    assert!(
        metrics.contains("easel_runtime_stage_seconds_count{stage=\"load\"} 1\n"),
        "one base for all: {metrics}"
    );
    assert_eq!(studio.facade.calls("/blobs/ink").len(), 1);
    assert_eq!(studio.worker.stop().await, Ok(()));
}

#[tokio::test]
async fn embeddings_hypernetworks_and_autoencoders_act_too() {
    let studio = Studio::open().await;
    let network = |kind, name: &str, bytes: &[u8]| studio.facade.network(kind, name, bytes);
    let word = network(NetworkKind::TextualInversion, "zorp", &embedding());
    let hypernetwork = network(NetworkKind::Hypernetwork, "bend", &hypernetwork());
    let vae = network(NetworkKind::Vae, "bright.pt", &vae());
    let prompt = "a zorp on a blue background";
    let (plain, _) = studio.draw("plain", prompt, &[]).await;
    let cases = [
        ("word", prompt.to_owned(), &word, ", TI hashes: \"zorp: "),
        ("bend", format!("{prompt} <hypernet:bend:1>"), &hypernetwork, "<hypernet:bend:1>"),
        ("vae", prompt.to_owned(), &vae, ", VAE: bright.pt, "),
    ];
    for (id, prompt, network, mark) in cases {
        let (picture, infotext) = studio.draw(id, &prompt, &[network]).await;
        let changed = distance(&plain, &picture);
        assert!(changed > 1.0, "{id} changes the picture by {changed} of 255");
        assert!(infotext.contains(mark), "{infotext}");
    }
    let (after, infotext) = studio.draw("after", prompt, &[]).await;
    assert!(after == plain && !infotext.contains("TI hashes"), "{infotext}");
    // The word of an embedding for another family is just a word.
    let wide = filled(&[("emb_params".to_owned(), vec![1, 768], 1.0)]);
    let wide = studio.facade.network(NetworkKind::TextualInversion, "zorp", &wide);
    let (other, infotext) = studio.draw("wide", prompt, &[&wide]).await;
    assert!(other == plain && !infotext.contains("TI hashes"), "{infotext}");
    assert_eq!(studio.worker.stop().await, Ok(()));
}
