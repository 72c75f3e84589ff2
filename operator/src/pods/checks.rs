//! The checks, most telling first. Each finds one fact. Messages hold nothing that changes while the fact
//! stays (back-off times, restart counts), so that a failing pod does not cost a status write a minute.

use easel_protocol::FailureReport;
use easel_protocol::import::ImportResult;
use easel_protocol::training::TrainResult;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;

/// Exit status of a process killed by SIGKILL, as the kernel does when memory runs out.
const EXIT_SIGKILL: i32 = 137;

/// What of a log gets into a status: its last lines, and of those so many characters at the end.
const LAST_LINES: usize = 5;
const MAX_WORDS: usize = 1000;

/// What a check finds.
#[derive(Debug)]
pub struct Found {
    pub reason: String,
    pub message: String,
    pub retriable: bool,
    pub time: Option<Timestamp>,
    pub exit_code: Option<i32>,
}

type Check = fn(&Pod) -> Option<Found>;

pub const CHECKS: &[Check] = &[
    image_name_is_invalid,
    image_cannot_be_pulled,
    container_cannot_be_created,
    process_reported_a_failure,
    memory_ran_out,
    container_keeps_crashing,
    pod_was_evicted,
    pod_cannot_be_scheduled,
];

fn fact(reason: &str, message: String, retriable: bool) -> Found {
    Found { reason: reason.to_owned(), message, retriable, time: None, exit_code: None }
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
    let main = status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    init.iter().chain(main)
}

/// The reason and message of a container that waits.
fn waiting(container: &ContainerStatus) -> Option<(&str, &str)> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    Some((waiting.reason.as_deref()?, waiting.message.as_deref().unwrap_or_default()))
}

/// How the container ended, if it does not work since: now, or before the restart that is under way.
fn ended(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let of =
        |state: &'_ Option<ContainerState>| -> Option<()> { state.as_ref()?.terminated.as_ref().map(|_| ()) };
    if container.ready {
        return None;
    }
    let state = if of(&container.state).is_some() { &container.state } else { &container.last_state };
    state.as_ref()?.terminated.as_ref().filter(|end| end.exit_code != 0 && !was_interrupted(end))
}

/// A trainer that was told to end and has stored its state did not fail.
fn was_interrupted(end: &ContainerStateTerminated) -> bool {
    let told = end.message.as_deref().map(serde_json::from_str);
    matches!(told, Some(Ok(TrainResult::Interrupted { .. })))
}

fn ends(pod: &Pod) -> impl Iterator<Item = (&ContainerStatus, &ContainerStateTerminated)> {
    containers(pod).filter_map(|container| Some((container, ended(container)?)))
}

fn after(end: &ContainerStateTerminated, mut found: Found) -> Found {
    found.time = end.finished_at.as_ref().map(|at| at.0);
    found.exit_code = Some(end.exit_code);
    found
}

fn image_name_is_invalid(pod: &Pod) -> Option<Found> {
    containers(pod).find_map(|container| match waiting(container)? {
        ("InvalidImageName", _) => {
            let message = format!("the image name \"{}\" is not valid; correct it", container.image);
            Some(fact("InvalidImageName", message, false))
        }
        _ => None,
    })
}

fn image_cannot_be_pulled(pod: &Pod) -> Option<Found> {
    containers(pod).find_map(|container| match waiting(container)? {
        ("ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "RegistryUnavailable", _) => {
            let message = format!(
                "the image \"{}\" cannot be pulled; does it exist, and may the node read its registry?",
                container.image
            );
            Some(fact("ImagePullFailed", message, true))
        }
        _ => None,
    })
}

fn container_cannot_be_created(pod: &Pod) -> Option<Found> {
    const REASONS: [&str; 4] =
        ["CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreStartHookError"];
    containers(pod).find_map(|container| {
        let (reason, message) = waiting(container)?;
        let message = format!("container {} cannot be started: {message}", container.name);
        REASONS.contains(&reason).then(|| fact(reason, message, true))
    })
}

/// The runtime says itself why it ended.
fn process_reported_a_failure(pod: &Pod) -> Option<Found> {
    ends(pod).find_map(|(_, end)| {
        let report = report_of(end.message.as_deref()?)?;
        Some(after(end, fact(&report.reason, report.message, report.retriable)))
    })
}

/// Both forms that a runtime process leaves behind: the results of imports, trainings and checks tell a failure in the
/// same way.
fn report_of(message: &str) -> Option<FailureReport> {
    match serde_json::from_str(message) {
        Ok(ImportResult::Failed(report)) => Some(report),
        Ok(ImportResult::Succeeded(_)) => None,
        Err(_) => serde_json::from_str(message).ok(),
    }
}

fn memory_ran_out(pod: &Pod) -> Option<Found> {
    ends(pod).find_map(|(container, end)| {
        let limit = memory_limit(pod, &container.name);
        let message = format!(
            "container {} used more memory than it may ({limit}) and was killed; raise its memory limit, or \
             use smaller models or pictures",
            container.name
        );
        let killed = end.reason.as_deref() == Some("OOMKilled");
        killed.then(|| after(end, fact("OOMKilled", message, false)))
    })
}

fn memory_limit(pod: &Pod, container: &str) -> String {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .filter(|c| c.name == container)
        .find_map(|c| c.resources.as_ref()?.limits.as_ref()?.get("memory").map(|limit| limit.0.clone()))
        .unwrap_or_else(|| "no limit of its own".to_owned())
}

fn container_keeps_crashing(pod: &Pod) -> Option<Found> {
    let (container, end) = ends(pod).next()?;
    let how = match end.exit_code {
        EXIT_SIGKILL => "was killed (exit status 137); a probe or the node may have done it".to_owned(),
        code => format!("ended with exit status {code}; see its log"),
    };
    let said = end.message.as_deref().map(last_words).filter(|words| !words.is_empty());
    let said = said.map(|words| format!(": {words}")).unwrap_or_default();
    let message = format!("container {} {how}{said}", container.name);
    let restarts = container.restart_count > 0 || waiting(container).is_some();
    let reason = if restarts { "CrashLoopBackOff" } else { "ContainerFailed" };
    Some(after(end, fact(reason, message, true)))
}

/// The last lines of a termination message, which may be the tail of a log.
fn last_words(message: &str) -> String {
    let lines: Vec<&str> = message.trim().lines().rev().take(LAST_LINES).collect();
    let words = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
    let excess = words.chars().count().saturating_sub(MAX_WORDS);
    words.chars().skip(excess).collect()
}

fn pod_was_evicted(pod: &Pod) -> Option<Found> {
    let status = pod.status.as_ref()?;
    let reason = status.reason.as_deref().filter(|_| status.phase.as_deref() == Some("Failed"))?;
    let said = status.message.as_deref().unwrap_or("the node gave no message");
    Some(fact(reason, format!("the node ended the pod: {said}"), true))
}

fn pod_cannot_be_scheduled(pod: &Pod) -> Option<Found> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let unscheduled = conditions.iter().find(|c| {
        c.type_ == "PodScheduled" && c.status == "False" && c.reason.as_deref() == Some("Unschedulable")
    })?;
    let said = unscheduled.message.as_deref().unwrap_or("the scheduler gave no message");
    let mut found = fact("Unschedulable", format!("no node can take the pod: {said}"), true);
    found.time = unscheduled.last_transition_time.as_ref().map(|at| at.0);
    Some(found)
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::{Value, json};

    use crate::pods::current_failure;

    fn pod(name: &str, status: Value) -> k8s_openapi::api::core::v1::Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"containers": [{"name": "serve", "resources": {"limits": {"memory": "2Gi"}}}]},
            "status": status,
        }))
        .unwrap()
    }

    fn waits(reason: &str) -> Value {
        container(json!({"state": {"waiting": {"reason": reason, "message": "back-off 10s"}}}))
    }

    fn ended(end: Value) -> Value {
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}});
        container(json!({"restartCount": 3, "state": waiting, "lastState": {"terminated": end}}))
    }

    fn container(extra: Value) -> Value {
        let mut status = json!({"name": "serve", "image": "im/age:1", "imageID": "", "ready": false,
            "restartCount": 0});
        status.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"phase": "Pending", "containerStatuses": [status]})
    }

    #[test]
    fn each_fact_is_found_and_marked() {
        let report =
            json!({"reason": "ModelLoadFailed", "message": "m: bad", "retriable": false}).to_string();
        let import = json!({"Failed": {"reason": "SourceNotFound", "message": "404", "retriable": false}});
        let unschedulable = json!({"conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes: Insufficient cpu"}]});
        let running_again = container(json!({"restartCount": 1, "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 1}}}));
        let first_end = container(json!({"state": {"terminated": {"exitCode": 1}}}));
        let no_secret = container(json!({"state": {"waiting": {"reason": "CreateContainerConfigError",
            "message": "secret not found"}}}));
        let cases = [
            (waits("InvalidImageName"), "InvalidImageName", false, None, "im/age:1"),
            (waits("ErrImagePull"), "ImagePullFailed", true, None, "im/age:1"),
            (waits("ImagePullBackOff"), "ImagePullFailed", true, None, "im/age:1"),
            (no_secret, "CreateContainerConfigError", true, None, "serve"),
            (ended(json!({"exitCode": 65, "message": report})), "ModelLoadFailed", false, Some(65), "m: bad"),
            (
                ended(json!({"exitCode": 65, "message": import.to_string()})),
                "SourceNotFound",
                false,
                Some(65),
                "404",
            ),
            (ended(json!({"exitCode": 137, "reason": "OOMKilled"})), "OOMKilled", false, Some(137), "(2Gi)"),
            (
                ended(json!({"exitCode": 1, "message": "a\nb\nc\nd\ne\nboom\n"})),
                "CrashLoopBackOff",
                true,
                Some(1),
                ": b\nc\nd\ne\nboom",
            ),
            (
                ended(json!({"exitCode": 137, "reason": "Error"})),
                "CrashLoopBackOff",
                true,
                Some(137),
                "killed",
            ),
            (running_again, "CrashLoopBackOff", true, Some(1), "exit status 1"),
            (first_end, "ContainerFailed", true, Some(1), "exit status 1"),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "low on disk"}),
                "Evicted",
                true,
                None,
                "low",
            ),
            (unschedulable, "Unschedulable", true, None, "Insufficient cpu"),
        ];
        for (status, reason, retriable, exit_code, part) in cases {
            let found = current_failure([&pod("p", status)]).unwrap_or_else(|| panic!("{reason} not found"));
            assert_eq!(
                (found.reason.as_str(), found.retriable, found.exit_code),
                (reason, retriable, exit_code)
            );
            assert!(found.message.contains(part), "{reason}: {}", found.message);
            assert!(!found.message.contains("back-off"), "{}", found.message);
        }
    }

    #[test]
    fn working_and_starting_pods_have_no_failure() {
        let recovered = container(json!({"ready": true, "restartCount": 1, "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}));
        let done = container(json!({"state": {"terminated": {"exitCode": 0}}}));
        let held = container(json!({"state": {"terminated": {"exitCode": 143,
            "message": "{\"Interrupted\":{\"step\":5}}"}}}));
        for status in [json!({}), waits("ContainerCreating"), recovered, done, held] {
            assert_eq!(current_failure([&pod("p", status.clone())]), None, "{status}");
        }
    }

    #[test]
    fn the_telling_failure_wins_and_leaving_pods_do_not_count() {
        let crash = pod("a", ended(json!({"exitCode": 1})));
        let image = pod("b", waits("ErrImagePull"));
        let found = current_failure([&crash, &image]).unwrap();
        assert_eq!((found.reason.as_str(), found.pod.as_str()), ("ImagePullFailed", "b"));
        let mut leaving = image.clone();
        leaving.meta_mut().deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(current_failure([&crash, &leaving]).unwrap().pod, "a");
    }

    use kube::Resource as _;

    #[test]
    fn among_equals_the_first_name_wins() {
        let pods = ["z", "a", "m"].map(|name| pod(name, waits("ErrImagePull")));
        assert_eq!(current_failure(&pods).unwrap().pod, pods[1].name_any());
    }
}
