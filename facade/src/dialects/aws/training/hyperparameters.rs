//! From the reference trainer's keys to `spec.hyperparameters`. What is not given has the default of the kind, but
//! for length and learning rates, which have the trainer's.

use serde_json::{Map, Value};

use super::config::{Config, number, set};
use super::error::TrainingError;
use super::method::Method;
use super::names::shown;

/// `num_train_epochs` of the reference's template.
const EPOCHS: u64 = 150;

const WHOLE: &[(&str, &str)] = &[
    ("train_batch_size", "batchSize"),
    ("gradient_accumulation_steps", "gradientAccumulationSteps"),
    ("resolution", "resolution"),
    ("lr_warmup_steps", "warmupSteps"),
    ("seed", "seed"),
    ("clip_skip", "clipSkip"),
    ("keep_tokens", "keepTokens"),
    ("caption_dropout_percent", "captionDropoutPercent"),
];
const FLAGS: &[(&str, &str)] = &[
    ("gradient_checkpointing", "gradientCheckpointing"),
    ("use_ema", "exponentialMovingAverage"),
    ("shuffle_tags", "shuffleCaptions"),
    ("hflip", "horizontalFlip"),
    ("random_crop", "randomCrop"),
    ("aspect_ratio_buckets", "aspectRatioBuckets"),
];
const DECIMALS: &[(&str, &str)] = &[
    ("prior_loss_weight", "priorLossWeight"),
    ("noise_offset", "noiseOffset"),
    ("offset_noise", "noiseOffset"),
    ("weight_decay", "weightDecay"),
    ("adamw_weight_decay", "weightDecay"),
    ("max_grad_norm", "maxGradientNorm"),
];

pub(super) fn hyperparameters(config: &mut Config, method: Method) -> Result<Value, TrainingError> {
    let mut out = Map::new();
    for (key, name) in WHOLE {
        set(&mut out, name, config.whole(key)?.map(number));
    }
    for (key, name) in FLAGS {
        set(&mut out, name, config.flag(key)?);
    }
    for (key, name) in DECIMALS {
        set(&mut out, name, config.decimal(key)?);
    }
    let gamma = config.real("min_snr_gamma")?.filter(|gamma| *gamma > 0.0);
    set(&mut out, "minSnrGamma", gamma.and_then(super::config::decimal));
    // 0 steps means that the rounds count.
    let steps = config.whole("max_train_steps")?.filter(|steps| *steps > 0);
    let epochs = config.whole("num_train_epochs")?.filter(|epochs| *epochs > 0);
    match steps {
        Some(steps) => set(&mut out, "steps", Some(number(steps))),
        None => set(&mut out, "epochs", Some(number(epochs.unwrap_or(EPOCHS)))),
    }
    rates(config, method, &mut out)?;
    words(config, &mut out)?;
    Ok(out.into())
}

/// A LoRA has rates of its own. The text encoder is trained for the share of the run that `stop_text_encoder` says.
fn rates(config: &mut Config, method: Method, out: &mut Map<String, Value>) -> Result<(), TrainingError> {
    let plain = config.decimal("learning_rate")?;
    let text = config.decimal("txt_learning_rate")?;
    let of_lora = (config.decimal("lora_learning_rate")?, config.decimal("lora_txt_learning_rate")?);
    let (rate, text_rate) = match method {
        Method::Lora => {
            let rate = of_lora.0.or(plain).unwrap_or_else(|| "1e-4".to_owned());
            (Some(rate), of_lora.1.or(text).unwrap_or_else(|| "5e-5".to_owned()))
        }
        Method::DreamBooth | Method::FullFineTune => {
            let rate = plain.unwrap_or_else(|| "2e-6".to_owned());
            (Some(rate.clone()), text.unwrap_or(rate))
        }
        // The kind's default, which is of their size.
        Method::TextualInversion | Method::Hypernetwork => (plain, String::new()),
    };
    set(out, "learningRate", rate);
    let share = config.real("stop_text_encoder")?.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&share) {
        let field = config.name("stop_text_encoder");
        return Err(TrainingError::field(field, format!("{share} is no share of the run, 0 to 1")));
    }
    if share > 0.0 && !text_rate.is_empty() {
        // In range by the check above.
        let percent = (share * 100.0).ceil() as u64;
        out.insert("textEncoderPercent".to_owned(), number(percent));
        out.insert("textEncoderLearningRate".to_owned(), text_rate.into());
    }
    Ok(())
}

/// Choices that are words in the reference's UI.
fn words(config: &mut Config, out: &mut Map<String, Value>) -> Result<(), TrainingError> {
    const SCHEDULES: &[(&str, &str)] = &[
        ("constant", "Constant"),
        ("constant_with_warmup", "Constant"),
        ("linear", "Linear"),
        ("linear_with_warmup", "Linear"),
        ("cosine", "Cosine"),
        ("cosine_annealing", "Cosine"),
        ("cosine_with_restarts", "CosineWithRestarts"),
        ("cosine_annealing_with_restarts", "CosineWithRestarts"),
        ("polynomial", "Polynomial"),
    ];
    const OPTIMIZERS: &[(&str, &str)] = &[
        ("8bit AdamW", "AdamW8Bit"),
        ("AdamW8Bit", "AdamW8Bit"),
        ("AdamW", "AdamW"),
        ("Torch AdamW", "AdamW"),
        ("Adafactor", "Adafactor"),
        ("SGD", "Sgd"),
    ];
    const PRECISIONS: &[(&str, &str)] = &[("no", "F32"), ("fp32", "F32"), ("fp16", "F16"), ("bf16", "Bf16")];
    let choices = [
        ("lr_scheduler", "learningRateSchedule", SCHEDULES),
        ("optimizer", "optimizer", OPTIMIZERS),
        ("mixed_precision", "precision", PRECISIONS),
    ];
    for (key, name, words) in choices {
        let Some(word) = config.text(key)? else { continue };
        let found = words.iter().find(|(own, _)| own.eq_ignore_ascii_case(&word));
        let (_, value) = found.ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(own, _)| *own).collect();
            let problem = format!("\"{}\" is not available; {} are", shown(&word), known.join(", "));
            TrainingError::field(config.name(key), problem)
        })?;
        out.insert(name.to_owned(), (*value).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(fields: Value, method: Method) -> Result<Value, TrainingError> {
        let Value::Object(fields) = fields else { unreachable!("an object") };
        hyperparameters(&mut Config::new("config_params", fields), method)
    }

    #[test]
    fn the_trainers_keys_have_their_places() {
        let given = json!({"num_train_epochs": 3, "max_train_steps": "0", "train_batch_size": 2, "resolution": 256,
            "learning_rate": 2e-5, "lora_learning_rate": 0.001, "seed": -1, "lr_scheduler": "constant_with_warmup",
            "optimizer": "8bit AdamW", "use_ema": true, "prior_loss_weight": 0.5, "clip_skip": 2,
            "mixed_precision": "fp16", "stop_text_encoder": 0.5});
        let lora = read(given.clone(), Method::Lora).expect("readable");
        let want = json!({"epochs": 3, "batchSize": 2, "resolution": 256, "learningRate": "0.001",
            "learningRateSchedule": "Constant", "optimizer": "AdamW8Bit", "exponentialMovingAverage": true,
            "priorLossWeight": "0.5", "clipSkip": 2, "precision": "F16", "textEncoderPercent": 50,
            "textEncoderLearningRate": "5e-5"});
        assert_eq!(lora, want);
        let dreambooth = read(given, Method::DreamBooth).expect("readable");
        assert_eq!(dreambooth["learningRate"], "0.00002");
        assert_eq!(dreambooth["textEncoderLearningRate"], "0.00002");
        assert_eq!(
            read(json!({}), Method::DreamBooth).expect("defaults"),
            json!({"epochs": 150, "learningRate": "2e-6"})
        );
        assert_eq!(
            read(json!({"max_train_steps": 9}), Method::Hypernetwork).expect("readable"),
            json!({"steps": 9})
        );
    }

    #[test]
    fn a_word_that_nobody_knows_is_named_with_those_that_are() {
        let cases = [
            (json!({"optimizer": "Lion"}), "config_params.optimizer: \"Lion\" is not available; 8bit AdamW"),
            (json!({"lr_scheduler": "rex"}), "config_params.lr_scheduler"),
            (json!({"stop_text_encoder": 2}), "config_params.stop_text_encoder: 2 is no share"),
            (json!({"train_batch_size": "many"}), "config_params.train_batch_size"),
            (json!({"learning_rate": -1}), "config_params.learning_rate: -1 is below 0"),
        ];
        for (fields, want) in cases {
            let error = read(fields, Method::Lora).expect_err(want).to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
