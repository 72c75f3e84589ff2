//! One prompt becomes a picture in which a person sees what was asked for.

use easel_tests::picture::{background, colour_at};
use easel_tests::rest::request;
use easel_tests::tenant::with_tenant;

#[tokio::test]
async fn the_picture_shows_what_the_prompt_says() {
    with_tenant("pictures", async |tenant| {
        tenant.serve_demo(1).await?;
        let prompts = [
            ("a red circle on a blue background", "red", "blue"),
            ("a yellow square on a purple background", "yellow", "purple"),
            ("a green circle on a white background", "green", "white"),
            ("a white square on a black background", "white", "black"),
            ("a blue circle on a yellow background", "blue", "yellow"),
        ];
        let mut seen = Vec::new();
        for (prompt, ..) in prompts {
            let id = tenant.rest.submit("demo", prompt, 25, 1).await?;
            let job = tenant.rest.finished(&id, 60).await?;
            assert_eq!(job["status"], "succeed", "{prompt}: {job}");
            let pictures = tenant.rest.pictures(&id).await?;
            assert_eq!(pictures.len(), 1, "{prompt}");
            assert_eq!(pictures[0].dimensions(), (64, 64), "{prompt}");
            seen.push((prompt, colour_at(&pictures[0], 0.5, 0.5, 8), background(&pictures[0])));
        }
        assert_eq!(seen, prompts);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_job_leaves_its_parameters_and_the_same_seed_the_same_picture() {
    with_tenant("params", async |tenant| {
        tenant.serve_demo(1).await?;
        let mut body = request("demo", "a black star on an orange background", 12, 7);
        body["batch_size"] = 2.into();
        let mut pictures = Vec::new();
        for _ in 0..2 {
            let reply = tenant.rest.post("/prod//inference-api/inference", &body).await?;
            let id = reply.json()["inference_id"].as_str().expect(&reply.text).to_owned();
            let job = tenant.rest.finished(&id, 60).await?;
            assert_eq!(job["status"], "succeed", "{job}");
            assert_eq!(job["image_names"], serde_json::json!(["image_0.jpg", "image_1.jpg"]));
            let reply =
                tenant.rest.get(&format!("/inference/get-inference-job-param-output?jobID={id}")).await?;
            let urls: Vec<String> = serde_json::from_str(&reply.text)?;
            let text = reqwest::get(&urls[0]).await?.error_for_status()?.text().await?;
            let parameters: serde_json::Value = serde_json::from_str(&text)?;
            let info: serde_json::Value =
                serde_json::from_str(parameters["info"].as_str().expect("info is text"))?;
            let infotext = info["infotexts"][1].as_str().expect("one infotext per picture");
            assert!(infotext.contains("Seed: 8") && infotext.contains("Steps: 12"), "{infotext}");
            pictures.push(tenant.rest.pictures(&id).await?);
        }
        assert_eq!(pictures[0].len(), 2);
        assert_eq!(pictures[0], pictures[1]);
        Ok(())
    })
    .await;
}
