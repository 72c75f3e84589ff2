//! Weight files of a few bytes.

use sha2::{Digest, Sha256};

pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Eight bytes of length, the JSON, the data.
pub fn with_header(json: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend(json.as_bytes());
    file.extend(data);
    file
}

/// The names and shapes by which a LoRA is known; every tensor is zero.
pub fn lora() -> Vec<u8> {
    file_of(&[
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight", &[4, 320]),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight", &[320, 4]),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.alpha", &[]),
    ])
}

/// The names and shapes by which a single-file SD 1.x checkpoint is known; every tensor is zero.
pub fn tiny_checkpoint() -> Vec<u8> {
    file_of(&[
        ("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", &[8, 768]),
        ("cond_stage_model.transformer.text_model.embeddings.position_embedding.weight", &[4, 768]),
        ("cond_stage_model.transformer.text_model.final_layer_norm.weight", &[768]),
        ("first_stage_model.decoder.conv_in.weight", &[8, 4, 3, 3]),
        ("first_stage_model.decoder.conv_out.weight", &[3, 8, 3, 3]),
        ("first_stage_model.encoder.conv_in.weight", &[8, 3, 3, 3]),
        ("first_stage_model.post_quant_conv.weight", &[4, 4, 1, 1]),
        ("first_stage_model.quant_conv.weight", &[8, 8, 1, 1]),
        ("model.diffusion_model.input_blocks.0.0.weight", &[32, 4, 3, 3]),
        ("model.diffusion_model.input_blocks.1.1.proj_in.weight", &[32, 32, 1, 1]),
        ("model.diffusion_model.out.2.weight", &[4, 32, 3, 3]),
        ("model.diffusion_model.time_embed.0.weight", &[128, 32]),
    ])
}

/// Tensors of f16 with these names and shapes; every one is zero.
pub fn file_of(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut end = 0;
    for (name, shape) in tensors {
        let begin = end;
        end += 2 * shape.iter().product::<usize>();
        let entry =
            format!("\"{name}\":{{\"dtype\":\"F16\",\"shape\":{shape:?},\"data_offsets\":[{begin},{end}]}}");
        entries.push(entry);
    }
    with_header(&format!("{{{}}}", entries.join(",")), &vec![0; end])
}

/// The demo model, as it is in the repository.
pub fn demo_model() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/demo-model/easel-demo.safetensors");
    std::fs::read(path).unwrap()
}

/// Tensors of f32 with these names, shapes and one value each.
pub fn filled(tensors: &[(String, Vec<usize>, f32)]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, shape, value) in tensors {
        let begin = data.len();
        (0..shape.iter().product::<usize>()).for_each(|_| data.extend(value.to_le_bytes()));
        let end = data.len();
        entries.push(format!(
            "\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[{begin},{end}]}}"
        ));
    }
    with_header(&format!("{{{}}}", entries.join(",")), &data)
}
