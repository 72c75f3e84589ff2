//! Every rule is broken and kept.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};
use easel_crds::all_crds;
use easel_crds::generate::{CelRule, cel_rules};
use easel_tests::objects::easel_api;
use futures::future::join_all;
use kube::Error;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::case::{Case, Fixture, fixtures, merged};
use crate::server::with_namespace;

#[tokio::test]
async fn every_rule_refuses_what_breaks_it_and_accepts_what_keeps_it() {
    with_namespace("crd-rules", async |client, namespace| {
        let rules: Vec<CelRule> = all_crds().iter().flat_map(cel_rules).collect();
        let fixtures = fixtures();
        let kinds = fixtures.iter().map(|fixture| {
            let api = easel_api(&client, &namespace, &fixture.kind);
            prove_kind(api, fixture, &rules)
        });
        let mut proven = BTreeSet::new();
        let mut failures = Vec::new();
        for outcome in join_all(kinds).await.into_iter().flatten() {
            match outcome {
                Ok(rule) => {
                    proven.insert(rule);
                }
                Err(failure) => failures.push(failure),
            }
        }
        for rule in rules.iter().filter(|rule| !proven.contains(rule)) {
            failures.push(format!("not proven: {} {} \"{}\"", rule.kind, rule.path, rule.message));
        }
        println!("{} of {} rules proven", proven.len(), rules.len());
        ensure!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
        Ok(())
    })
    .await;
}

/// For each case the rule that it proves, or what went wrong.
async fn prove_kind<'a>(
    api: Api<DynamicObject>,
    fixture: &Fixture,
    rules: &'a [CelRule],
) -> Vec<Result<&'a CelRule, String>> {
    let mut outcomes = Vec::new();
    for (index, case) in fixture.cases.iter().enumerate() {
        let place = format!("{} {} \"{}\"", fixture.kind, case.path, case.message);
        let of_case = |rule: &&CelRule| {
            rule.kind == fixture.kind && rule.path == case.path && rule.message == case.message
        };
        outcomes.push(match rules.iter().find(of_case) {
            None => Err(format!("{place}: no CRD has this rule")),
            Some(rule) => match prove(&api, fixture, case, rule, index).await {
                Ok(()) => Ok(rule),
                Err(error) => Err(format!("{place}: {error:#}")),
            },
        });
    }
    outcomes
}

async fn prove(
    api: &Api<DynamicObject>,
    fixture: &Fixture,
    case: &Case,
    rule: &CelRule,
    index: usize,
) -> anyhow::Result<()> {
    let object = |patch: &Value, suffix: &str| -> anyhow::Result<DynamicObject> {
        let named = json!({
            "apiVersion": "easel.dev/v1alpha1", "kind": fixture.kind,
            "metadata": {"name": format!("case-{index}-{suffix}")},
        });
        Ok(serde_json::from_value(merged(&merged(&named, &fixture.base), patch))?)
    };
    let create = PostParams::default();
    if rule.is_transition() {
        let made = object(&case.from, "update")?;
        let name = made.metadata.name.clone().context("a name")?;
        api.create(&create, &made).await.context("the object before the update")?;
        ensure!(!case.keep.is_null(), "a case for an update says what keeps the rule");
        let update = PatchParams::default();
        api.patch(&name, &update, &Patch::Merge(&case.keep))
            .await
            .context("the update that keeps the rule")?;
        refused_by(rule, api.patch(&name, &update, &Patch::Merge(&case.r#break)).await)
    } else {
        api.create(&create, &object(&case.keep, "keep")?).await.context("the object that keeps the rule")?;
        refused_by(rule, api.create(&create, &object(&case.r#break, "break")?).await)
    }
}

/// The API server's answer names exactly this rule: its field and its sentence.
fn refused_by(rule: &CelRule, answer: Result<DynamicObject, Error>) -> anyhow::Result<()> {
    let status = match answer {
        Ok(_) => bail!("the object that breaks the rule was accepted"),
        Err(Error::Api(status)) => status,
        Err(other) => return Err(other.into()),
    };
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    let [cause] = causes else {
        bail!("one cause is expected: {}", status.message);
    };
    let field = if cause.field == "<nil>" { String::new() } else { without_indices(&cause.field) };
    ensure!(field == rule.path, "the field is {field}: {}", status.message);
    ensure!(cause.message.ends_with(&format!(": {}", rule.message)), "another message: {}", cause.message);
    ensure!(status.message.contains(&rule.message), "{}", status.message);
    Ok(())
}

/// `spec.models[3].name` as `spec.models[].name`.
fn without_indices(field: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for letter in field.chars() {
        inside = letter == '[' || (inside && letter != ']');
        if !inside || letter == '[' {
            out.push(letter);
        }
    }
    out
}
