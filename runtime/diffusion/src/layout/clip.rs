//! Names of the CLIP text encoder of `transformers`.

/// Drops the `text_model.` that transformers before version 5 wrote, and the buffer of positions.
pub fn rename_clip(name: &str) -> Option<String> {
    let rest = name.strip_prefix("text_model.").unwrap_or(name);
    let known = ["embeddings.", "encoder.", "final_layer_norm.", "text_projection."];
    if rest.ends_with("position_ids") || !known.iter().any(|k| rest.starts_with(k)) {
        return None;
    }
    Some(rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_of_names_become_one() {
        for name in ["text_model.encoder.layers.0.mlp.fc1.weight", "encoder.layers.0.mlp.fc1.weight"] {
            assert_eq!(rename_clip(name).as_deref(), Some("encoder.layers.0.mlp.fc1.weight"));
        }
        for name in ["text_model.embeddings.position_ids", "logit_scale"] {
            assert_eq!(rename_clip(name), None, "{name}");
        }
        let projection = "text_projection.weight";
        assert_eq!(rename_clip(projection).as_deref(), Some(projection));
    }
}
