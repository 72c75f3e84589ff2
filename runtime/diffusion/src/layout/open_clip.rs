//! Names of OpenCLIP's text tower, which SD 2.x and SDXL carry in their single files.
//!
//! Two tensors are stored otherwise than in `transformers`: queries, keys and values are stacked in one,
//! and the projection is applied from the other side. Both become views of the file's bytes.

use crate::weights::TensorEntry;

const STACKED: &[&str] = &["q_proj", "k_proj", "v_proj"];

/// The tensors of `transformers`' `CLIPTextModelWithProjection` that this one holds, with their places;
/// none for what is no part of the encoder or has no such shape.
pub fn split_open_clip(name: &str, entry: &TensorEntry) -> Vec<(String, TensorEntry)> {
    let whole = |name: String| vec![(name, entry.clone())];
    match name {
        "positional_embedding" => return whole("embeddings.position_embedding.weight".into()),
        "token_embedding.weight" => return whole("embeddings.token_embedding.weight".into()),
        "text_projection" => {
            let turned = entry.transposed();
            return turned.map(|t| ("text_projection.weight".into(), t)).into_iter().collect();
        }
        // Some converters store it as a linear layer already.
        "text_projection.weight" => return whole(name.into()),
        _ => {}
    }
    if let Some(leaf) = name.strip_prefix("ln_final.") {
        return whole(format!("final_layer_norm.{leaf}"));
    }
    let layer = name.strip_prefix("transformer.resblocks.").and_then(|rest| rest.split_once('.'));
    let Some((index, rest)) = layer else { return Vec::new() };
    if index.parse::<u16>().is_err() {
        return Vec::new();
    }
    let at = format!("encoder.layers.{index}");
    for leaf in ["weight", "bias"] {
        if rest == format!("attn.in_proj_{leaf}") {
            return stacked(&at, leaf, entry);
        }
    }
    member(rest).map(|new| (format!("{at}.{new}"), entry.clone())).into_iter().collect()
}

fn stacked(at: &str, leaf: &str, entry: &TensorEntry) -> Vec<(String, TensorEntry)> {
    let part = |(i, name): (usize, &&str)| {
        Some((format!("{at}.self_attn.{name}.{leaf}"), entry.rows(i, STACKED.len())?))
    };
    STACKED.iter().enumerate().filter_map(part).collect()
}

fn member(rest: &str) -> Option<String> {
    [
        ("ln_1.", "layer_norm1."),
        ("ln_2.", "layer_norm2."),
        ("attn.out_proj.", "self_attn.out_proj."),
        ("mlp.c_fc.", "mlp.fc1."),
        ("mlp.c_proj.", "mlp.fc2."),
    ]
    .iter()
    .find_map(|(old, new)| Some(format!("{new}{}", rest.strip_prefix(old)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Dtype;

    fn entry(shape: &[usize]) -> TensorEntry {
        let bytes = shape.iter().product::<usize>() as u64 * 2;
        TensorEntry { dtype: Dtype::F16, shape: shape.to_vec(), begin: 100, end: 100 + bytes, strides: None }
    }

    #[test]
    fn stacked_projections_become_three() {
        let parts = split_open_clip("transformer.resblocks.7.attn.in_proj_weight", &entry(&[12, 4]));
        let seen: Vec<_> = parts.iter().map(|(n, e)| (n.as_str(), e.begin, e.end, e.shape.clone())).collect();
        assert_eq!(
            seen,
            [
                ("encoder.layers.7.self_attn.q_proj.weight", 100, 132, vec![4, 4]),
                ("encoder.layers.7.self_attn.k_proj.weight", 132, 164, vec![4, 4]),
                ("encoder.layers.7.self_attn.v_proj.weight", 164, 196, vec![4, 4]),
            ]
        );
        // Eleven rows are no three blocks: nothing comes out, and the tensor is missed by name later.
        assert!(split_open_clip("transformer.resblocks.7.attn.in_proj_bias", &entry(&[11])).is_empty());
    }

    #[test]
    fn the_projection_is_turned() {
        let parts = split_open_clip("text_projection", &entry(&[3, 5]));
        assert_eq!(parts[0].0, "text_projection.weight");
        assert_eq!(
            (parts[0].1.shape.as_slice(), parts[0].1.strides.as_deref()),
            (&[5, 3][..], Some(&[1, 5][..]))
        );
    }

    #[test]
    fn the_rest_keeps_its_bytes_and_gets_a_name() {
        let cases = [
            ("positional_embedding", Some("embeddings.position_embedding.weight")),
            ("ln_final.bias", Some("final_layer_norm.bias")),
            ("transformer.resblocks.0.ln_2.weight", Some("encoder.layers.0.layer_norm2.weight")),
            ("transformer.resblocks.22.mlp.c_proj.bias", Some("encoder.layers.22.mlp.fc2.bias")),
            ("transformer.resblocks.x.ln_1.bias", None),
            ("logit_scale", None),
            ("attn_mask", None),
        ];
        for (name, want) in cases {
            let parts = split_open_clip(name, &entry(&[4]));
            assert_eq!(parts.first().map(|p| p.0.as_str()), want, "{name}");
        }
    }
}
