//! `check-dataset`: what is wrong with which picture.

use easel_protocol::dataset::ProblemReason::{Duplicate, HashDiffers, Missing, TooSmall, Unreadable};
use easel_protocol::dataset::{ProblemReason, ReportLine};
use easel_runtime::dataset_check::check;

use crate::support::{TrainingServer, check_config, picture, sha256_hex};

fn report(server: &TrainingServer) -> Vec<ReportLine> {
    let text = String::from_utf8(server.object("report.jsonl").unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn every_enabled_picture_is_looked_at() {
    let server = TrainingServer::start().await;
    let good = picture(80, 64, [1, 2, 3]);
    let other = picture(64, 64, [3, 2, 1]);
    let add = |name: &str, bytes: Option<&[u8]>| server.item("set", name, bytes, |_| {});
    add("z last.png", Some(&good));
    add("a/../first.png", Some(&good));
    add("gone.png", None);
    add("small.png", Some(&picture(63, 64, [0; 3])));
    add("cut.png", Some(&good[..good.len() / 2]));
    server.item("set", "other.png", Some(&other), |item| item.sha256 = Some(sha256_hex(&good)));
    server.item("set", "right.png", Some(&other), |item| {
        item.sha256 = Some(sha256_hex(&other).to_uppercase());
        item.size_bytes = Some(other.len() as u64);
    });
    server.item("set", "off.png", None, |item| item.enabled = false);
    // An address that ran out, and a store that is busy.
    server.spoil_item("set", "right.png", 403);
    server.spoil_item("set", "small.png", 503);
    let directory = tempfile::tempdir().unwrap();
    let checked = check(&check_config(&server, "set", directory.path())).await.unwrap();
    assert_eq!((checked.items, checked.enabled), (8, 7));
    assert_eq!((checked.missing, checked.invalid, checked.duplicates), (1, 3, 1));
    let problems: Vec<_> = checked.problems.iter().map(|p| (p.name.as_str(), p.reason)).collect();
    let want = [
        ("cut.png", Unreadable),
        ("gone.png", Missing),
        ("other.png", HashDiffers),
        ("small.png", TooSmall),
        ("z last.png", Duplicate),
    ];
    assert_eq!(problems, want);
    assert_eq!(checked.report.as_deref(), Some("report.jsonl"));
    assert_eq!(server.content_type("report.jsonl").as_deref(), Some("application/x-ndjson"));
    let lines = report(&server);
    assert_eq!(lines.len(), 7, "the disabled one is not looked at");
    let line = |name: &str| lines.iter().find(|line| line.name == name).unwrap();
    let first = line("a/../first.png");
    assert_eq!((first.width, first.height, first.problem), (Some(80), Some(64), None));
    assert_eq!(first.sha256.as_deref(), Some(sha256_hex(&good).as_str()));
    assert!(line("other.png").message.as_deref().unwrap().contains(&sha256_hex(&good)));
    let reads: u64 = lines.iter().filter_map(|line| line.sha256.as_ref().and(line.size_bytes)).sum();
    assert_eq!(checked.size_bytes, reads);
    let left: Vec<_> = std::fs::read_dir(directory.path().join("work/pictures")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_picture_of_too_many_bytes_is_not_read_to_its_end() {
    let server = TrainingServer::start().await;
    server.item("set", "huge.png", Some(&vec![0; (64 << 20) + 1]), |_| {});
    let directory = tempfile::tempdir().unwrap();
    let checked = check(&check_config(&server, "set", directory.path())).await.unwrap();
    assert_eq!((checked.invalid, checked.size_bytes), (1, 0));
    let [line] = &report(&server)[..] else { panic!("one line") };
    assert_eq!((line.problem, line.size_bytes), (Some(ProblemReason::TooLarge), Some((64 << 20) + 1)));
}

#[tokio::test]
async fn a_dataset_without_pictures_has_no_report() {
    let server = TrainingServer::start().await;
    server.item("set", "off.png", None, |item| item.enabled = false);
    let directory = tempfile::tempdir().unwrap();
    let checked = check(&check_config(&server, "set", directory.path())).await.unwrap();
    assert_eq!((checked.items, checked.enabled, checked.report), (1, 0, None));
    assert_eq!(server.object("report.jsonl"), None);
}
