//! Nothing of another UID is adopted, changed or deleted; what is ours is healed and cleaned up.

use easel_operator::client::{Fence, FenceLayer};
use serde_json::json;

use crate::api::Api;
use crate::fixture::{ACCOUNTS, DEPLOYMENTS, ENDPOINTS, SERVICES, at, condition, model_and_endpoint, ready};
use crate::process::{Process, settle};

const NAME: &str = "easel-endpoint-demo";

#[tokio::test]
async fn a_foreign_object_of_the_same_name_is_left_alone_and_reported() {
    let api = Api::default();
    let foreign = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": NAME, "namespace": "tenant"}, "spec": {"selector": {"app": "theirs"}}});
    let stored = api.put(SERVICES, foreign);
    model_and_endpoint(&api);
    let process = Process::start(&api, "");
    for _ in 0..2 {
        assert_eq!(process.look(&api, k8s_openapi::jiff::Timestamp::now()).await, ["NameConflict"]);
    }
    let endpoint = api.get(&at(ENDPOINTS, "demo")).unwrap();
    assert_eq!(ready(&endpoint), "False:NameConflict");
    assert_eq!(condition(&endpoint, "Stalled"), ("True".into(), "NameConflict".into()));
    assert_eq!(endpoint["status"]["lastFailure"]["retriable"], false);
    assert_eq!(api.get(&at(SERVICES, NAME)).unwrap(), stored);

    api.remove(&at(SERVICES, NAME));
    settle(&api).await;
    let endpoint = api.get(&at(ENDPOINTS, "demo")).unwrap();
    assert_eq!((ready(&endpoint), condition(&endpoint, "Stalled").0), ("True:Ready".into(), "False".into()));
    assert_eq!(endpoint["status"]["lastFailure"]["reason"], "NameConflict", "kept until the next one");
}

#[tokio::test]
async fn children_of_a_former_object_are_waited_for() {
    let api = Api::default();
    model_and_endpoint(&api);
    settle(&api).await;
    let leftover = api.get(&at(DEPLOYMENTS, NAME)).unwrap();
    // Deleted without the garbage collector having come by yet, and made again.
    api.change(&at(DEPLOYMENTS, NAME), |d| d["metadata"]["ownerReferences"] = json!([]));
    let spec = api.get(&at(ENDPOINTS, "demo")).unwrap()["spec"].clone();
    api.remove(&at(ENDPOINTS, "demo"));
    api.change(&at(DEPLOYMENTS, NAME), |d| {
        d["metadata"]["ownerReferences"] = leftover["metadata"]["ownerReferences"].clone();
    });
    api.put(
        ENDPOINTS,
        json!({"apiVersion": "easel.dev/v1alpha1", "kind": "Endpoint",
        "metadata": {"name": "demo", "namespace": "tenant"}, "spec": spec}),
    );
    let kept = api.get(&at(DEPLOYMENTS, NAME)).unwrap();

    let process = Process::start(&api, "");
    assert_eq!(process.look(&api, k8s_openapi::jiff::Timestamp::now()).await, ["WaitingForDeletion"]);
    let endpoint = api.get(&at(ENDPOINTS, "demo")).unwrap();
    assert_eq!(condition(&endpoint, "Reconciling"), ("True".into(), "WaitingForDeletion".into()));
    assert!(endpoint["status"]["lastFailure"].is_null(), "waiting is no failure");
    assert_eq!(api.get(&at(DEPLOYMENTS, NAME)).unwrap(), kept);

    api.remove(&at(DEPLOYMENTS, NAME));
    settle(&api).await;
    assert_eq!(ready(&api.get(&at(ENDPOINTS, "demo")).unwrap()), "True:Ready");
}

#[tokio::test]
async fn drift_is_healed_and_what_others_add_stays() {
    let api = Api::default();
    model_and_endpoint(&api);
    settle(&api).await;
    api.change(&at(DEPLOYMENTS, NAME), |deployment| {
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!("evil:1");
        deployment["metadata"]["labels"]["theirs"] = json!("stays");
        deployment["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("them");
    });
    api.remove(&at(ACCOUNTS, NAME));
    settle(&api).await;
    let deployment = api.get(&at(DEPLOYMENTS, NAME)).unwrap();
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], "runtime:1");
    let labels = &deployment["metadata"]["labels"];
    assert_eq!(
        (&labels["theirs"], &labels["app.kubernetes.io/managed-by"]),
        (&json!("stays"), &json!("easel"))
    );
    assert!(api.get(&at(ACCOUNTS, NAME)).is_some());
}

#[tokio::test]
async fn only_our_own_superfluous_objects_are_deleted() {
    let api = Api::default();
    model_and_endpoint(&api);
    settle(&api).await;
    let ours = api.get(&at(SERVICES, NAME)).unwrap();
    let labelled = |name: &str, owners: serde_json::Value| {
        let mut service = ours.clone();
        service["metadata"]["name"] = json!(name);
        service["metadata"]["ownerReferences"] = owners;
        service
    };
    let other_uid = json!([{"apiVersion": "easel.dev/v1alpha1", "kind": "Endpoint", "name": "demo",
        "uid": "someone-else", "controller": true}]);
    api.put(SERVICES, labelled("old-one-of-ours", ours["metadata"]["ownerReferences"].clone()));
    api.put(SERVICES, labelled("of-another-uid", other_uid));
    api.put(SERVICES, labelled("of-nobody", json!([])));
    settle(&api).await;
    let names: Vec<String> = api.all(SERVICES).into_iter().map(|(path, _)| path).collect();
    assert_eq!(names, ["easel-endpoint-demo", "of-another-uid", "of-nobody"].map(|n| at(SERVICES, n)));
}

#[tokio::test]
async fn an_object_that_is_being_deleted_gets_no_children() {
    let api = Api::default();
    model_and_endpoint(&api);
    for collection in [crate::fixture::MODELS, ENDPOINTS] {
        for (path, _) in api.all(collection) {
            api.change(&path, |object| {
                object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")
            });
        }
    }
    api.take_writes();
    settle(&api).await;
    assert_eq!(api.take_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn without_the_lease_nothing_is_written() {
    use tower::Layer;
    let api = Api::default();
    model_and_endpoint(&api);
    api.take_writes();
    let server = {
        let api = api.clone();
        tower::service_fn(move |request| {
            let api = api.clone();
            async move { Ok::<_, tower::BoxError>(api.answer(request).await) }
        })
    };
    let client = kube::Client::new(FenceLayer(Fence::default()).layer(server), "tenant");
    let process = Process::with_client(client);
    let reasons = process.look(&api, k8s_openapi::jiff::Timestamp::now()).await;
    assert_eq!(reasons, ["StatusFailed", "StatusFailed"]);
    assert_eq!(api.take_writes(), Vec::<String>::new());
}
