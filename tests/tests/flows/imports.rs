//! Models come in whole and understood, or the Model says why not.

use easel_tests::objects::{condition, last_failure};
use easel_tests::origin::start_origin;
use easel_tests::tenant::{DEMO_WEIGHTS, Tenant, http_model, upload_model, with_tenant};
use sha2::{Digest, Sha256};

/// Waits until the Model has failed and returns `reason: message` and whether it is retriable.
async fn failure(tenant: &Tenant, name: &str, seconds: u64) -> (String, bool) {
    let model = tenant
        .wait_for("Model", name, "has failed", seconds, |object| last_failure(object)["reason"].is_string())
        .await;
    assert_eq!(condition(&model, "Ready").status, "False", "{name}");
    let failure = last_failure(&model);
    let text = format!(
        "{}: {}",
        failure["reason"].as_str().unwrap_or(""),
        failure["message"].as_str().unwrap_or("")
    );
    (text, failure["retriable"].as_bool().expect("retriable is said"))
}

/// Safetensors bytes with that header text.
fn with_header(length: u64, header: &str, data: usize) -> Vec<u8> {
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[tokio::test]
async fn hostile_files_are_refused_with_the_reason() {
    with_tenant("hostile", async |tenant| {
        let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
        let weights = tokio::fs::read(DEMO_WEIGHTS).await?;
        let cases: [(&str, Vec<u8>, &[&str]); 5] = [
            ("truncated", weights[..weights.len() / 2].to_vec(), &["truncated", "byte"]),
            ("lying-length", with_header(1 << 40, "{}", 64), &["header"]),
            ("two-gigabytes", with_header(2 << 30, "{}", 64), &["header", "2147483648"]),
            ("overlapping", with_header(overlap.len() as u64, overlap, 12), &["overlap"]),
            ("pickle", b"\x80\x02ctorch\nload\nq\x00.".repeat(40), &["pickle", "safetensors"]),
        ];
        for (name, ..) in &cases {
            tenant.apply(&upload_model(name)).await?;
        }
        for (name, bytes, _) in &cases {
            tenant.upload(name, bytes.clone()).await;
        }
        for (name, _, words) in &cases {
            let (text, retriable) = failure(&tenant, name, 60).await;
            assert!(!retriable, "{name}: {text}");
            for word in *words {
                assert!(text.to_lowercase().contains(word), "{name} says {word}: {text}");
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_web_address_becomes_a_ready_model_or_says_why_not() {
    with_tenant("http", async |tenant| {
        let origin = start_origin(&tenant).await?;
        let file = "easel-demo.safetensors";
        tenant.apply(&http_model("good", &format!("{origin}/files/{file}"))).await?;
        tenant.apply(&http_model("missing", &format!("{origin}/files/none.safetensors"))).await?;
        tenant.apply(&http_model("truncating", &format!("{origin}/truncate/{file}"))).await?;
        tenant.apply(&http_model("stalling", &format!("{origin}/stall/{file}"))).await?;
        tenant.apply(&http_model("metadata", "http://169.254.169.254/latest/weights.safetensors")).await?;

        let model = tenant.wait_ready("Model", "good", 60).await;
        let status = &model.data["status"];
        let bytes = tokio::fs::read(DEMO_WEIGHTS).await?;
        assert_eq!(status["files"][0]["sha256"], hex::encode(Sha256::digest(&bytes)));
        assert_eq!(status["sizeBytes"].as_u64(), Some(bytes.len() as u64));
        assert_eq!(status["family"], "Sd1");

        let cases = [
            ("missing", "404", false, 60),
            ("metadata", "169.254.169.254", false, 60),
            ("truncating", "byte", true, 120),
            ("stalling", "no byte", true, 300),
        ];
        for (name, word, retriable, seconds) in cases {
            let (text, said) = failure(&tenant, name, seconds).await;
            assert!(text.to_lowercase().contains(word), "{name} says {word}: {text}");
            assert_eq!(said, retriable, "{name}: {text}");
        }
        Ok(())
    })
    .await;
}
