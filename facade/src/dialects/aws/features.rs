//! What a request may ask for that does not exist: refused by name, since a picture that silently lacks what
//! was asked for is worse than no picture.

use serde_json::Value;

use super::error::AwsError;
use super::wire::{AlwaysOnScript, RunInference};

/// Values that say "off" in the reference's UI.
const OFF: &[&str] = &["", "None", "none"];

/// # Errors
/// [`AwsError::Feature`] with the first field that asks for something that does not exist.
pub(super) fn check(body: &RunInference) -> Result<(), AwsError> {
    let flagged = |field: Option<super::numbers::Flag>| field.is_some_and(|flag| flag.0);
    let differs = |field: Option<super::numbers::Real>, neutral: f64| {
        field.is_some_and(|value| f64::from(value) != neutral)
    };
    let asked = [
        ("enable_hr", flagged(body.enable_hr)),
        ("restore_faces", flagged(body.restore_faces)),
        ("tiling", flagged(body.tiling)),
        ("styles", body.styles.as_ref().is_some_and(|styles| !styles.is_empty())),
        ("subseed_strength", differs(body.subseed_strength, 0.0)),
        ("seed_resize_from_h", body.seed_resize_from_h.is_some_and(|size| f64::from(size) > 0.0)),
        ("seed_resize_from_w", body.seed_resize_from_w.is_some_and(|size| f64::from(size) > 0.0)),
        ("s_min_uncond", differs(body.s_min_uncond, 0.0)),
        ("s_churn", differs(body.s_churn, 0.0)),
        ("s_noise", differs(body.s_noise, 1.0)),
        ("script_name", body.script_name.as_deref().is_some_and(|name| !OFF.contains(&name))),
    ];
    if let Some((field, _)) = asked.iter().find(|(_, asked)| *asked) {
        return Err(AwsError::Feature { field: (*field).to_owned(), detail: neutral(field).to_owned() });
    }
    scripts(body)
}

/// The value with which a request goes through.
fn neutral(field: &str) -> &'static str {
    match field {
        "enable_hr" | "restore_faces" | "tiling" => "leave it out or send false",
        "styles" => "leave it out or send []",
        "s_noise" => "leave it out or send 1",
        "script_name" => "leave it out or send null",
        _ => "leave it out or send 0",
    }
}

/// Scripts that do nothing are sent by the official UI with every request; a script that would act is refused.
fn scripts(body: &RunInference) -> Result<(), AwsError> {
    for (name, script) in body.alwayson_scripts.iter().flatten() {
        let args = script.as_ref().and_then(|AlwaysOnScript { args }| args.as_deref()).unwrap_or_default();
        let acts = match name.to_ascii_lowercase().as_str() {
            "controlnet" => args.iter().any(unit_is_on),
            _ => !args.is_empty(),
        };
        if acts {
            let detail = "leave it out, send empty args, or ControlNet units with enabled false".to_owned();
            return Err(AwsError::Feature { field: format!("alwayson_scripts.{name}"), detail });
        }
    }
    Ok(())
}

/// A unit without `enabled` is on, as in the ControlNet extension.
fn unit_is_on(unit: &Value) -> bool {
    !matches!(unit.get("enabled"), Some(Value::Bool(false))) && !unit.is_null()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_would_change_the_picture_is_refused_by_name() {
        let cases = [
            (json!({"enable_hr": true}), "enable_hr"),
            (json!({"restore_faces": "true"}), "restore_faces"),
            (json!({"tiling": 1}), "tiling"),
            (json!({"styles": ["x"]}), "styles"),
            (json!({"subseed_strength": 0.1}), "subseed_strength"),
            (json!({"seed_resize_from_w": 64}), "seed_resize_from_w"),
            (json!({"s_churn": 1}), "s_churn"),
            (json!({"s_noise": 1.1}), "s_noise"),
            (json!({"s_min_uncond": 1}), "s_min_uncond"),
            (json!({"script_name": "x/y/z plot"}), "script_name"),
            (
                json!({"alwayson_scripts": {"controlnet": {"args": [{"enabled": true}]}}}),
                "alwayson_scripts.controlnet",
            ),
            (json!({"alwayson_scripts": {"ControlNet": {"args": [{}]}}}), "alwayson_scripts.ControlNet"),
            (json!({"alwayson_scripts": {"refiner": {"args": [true]}}}), "alwayson_scripts.refiner"),
        ];
        for (body, want) in cases {
            let body: RunInference = serde_json::from_value(body).expect("a body");
            match check(&body).expect_err(want) {
                AwsError::Feature { field, .. } => assert_eq!(field, want),
                other => panic!("{want}: {other}"),
            }
        }
    }

    #[test]
    fn what_is_off_goes_through() {
        let body = json!({
            "enable_hr": false, "denoising_strength": 0.75, "hr_scale": 2.0, "hr_upscaler": "Latent", "styles": [],
            "subseed": -1, "subseed_strength": 0.0, "seed_resize_from_h": 0, "seed_resize_from_w": -1,
            "restore_faces": false, "tiling": null, "s_min_uncond": 0, "s_churn": 0.0, "s_noise": 1, "script_name": "None",
            "script_args": [], "prompt": "a < b", "alwayson_scripts": {
                "controlnet": {"args": [{"enabled": false, "module": "none"}, null]}, "extra options": {"args": []},
                "seed": null},
        });
        let body: RunInference = serde_json::from_value(body).expect("a body");
        check(&body).expect("nothing is asked for");
    }
}
