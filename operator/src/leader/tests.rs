//! Candidates against an API server that keeps one Lease.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tower::{BoxError, service_fn};

use super::*;

/// Stores one Lease, refusing updates of another version than the stored one.
#[derive(Default)]
struct Server {
    lease: Mutex<Option<Value>>,
    version: std::sync::atomic::AtomicU64,
    /// Somebody else changes the lease right before the next update.
    race: AtomicBool,
}

impl Server {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let (code, value) = self.handle(&parts.method, body);
        let mut response = Response::new(Body::from(value.to_string().into_bytes()));
        *response.status_mut() = code;
        response
    }

    fn handle(&self, method: &Method, body: Value) -> (StatusCode, Value) {
        let mut lease = self.lease.lock().unwrap();
        match (method.as_str(), lease.clone()) {
            ("GET", Some(lease)) => (StatusCode::OK, lease),
            ("POST", None) => (StatusCode::CREATED, self.save(&mut lease, body)),
            ("PUT", Some(live)) => {
                let raced = self.race.swap(false, Ordering::Relaxed);
                if raced || live["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
                    return refuse(StatusCode::CONFLICT);
                }
                (StatusCode::OK, self.save(&mut lease, body))
            }
            (_, None) => refuse(StatusCode::NOT_FOUND),
            _ => refuse(StatusCode::CONFLICT),
        }
    }

    fn save(&self, lease: &mut Option<Value>, mut body: Value) -> Value {
        let version = self.version.fetch_add(1, Ordering::Relaxed);
        body["metadata"]["resourceVersion"] = json!(version.to_string());
        lease.insert(body).clone()
    }
}

fn refuse(code: StatusCode) -> (StatusCode, Value) {
    let status = json!({"kind": "Status", "status": "Failure", "message": "no",
        "reason": code.canonical_reason().unwrap_or_default().replace(' ', ""), "code": code.as_u16()});
    (code, status)
}

fn elector(server: &Arc<Server>, identity: &str) -> Elector {
    let server = server.clone();
    let service = service_fn(move |request| {
        let server = server.clone();
        async move { Ok::<_, BoxError>(server.answer(request).await) }
    });
    let client = Client::new(service, "easel");
    Elector::new(client, "easel", "lease", identity, Fence::default(), Arc::new(Health::default()))
}

fn lease(holder: &str, version: &str) -> Lease {
    Lease {
        metadata: ObjectMeta { resource_version: Some(version.into()), ..Default::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(15),
            ..Default::default()
        }),
    }
}

#[tokio::test]
async fn a_lease_runs_out_by_our_own_clock() {
    let mut elector = elector(&Arc::default(), "me");
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let steps = [
        ("there is none", None, 0, Step::Create),
        ("first seen", Some(lease("other", "1")), 0, Step::Wait),
        ("not renewed for a while", Some(lease("other", "1")), 14, Step::Wait),
        ("renewed", Some(lease("other", "2")), 14, Step::Wait),
        ("still valid", Some(lease("other", "2")), 28, Step::Wait),
        ("run out", Some(lease("other", "2")), 29, Step::Take),
        ("given up", Some(lease("", "3")), 30, Step::Take),
        ("ours", Some(lease("me", "4")), 31, Step::Renew),
    ];
    for (name, live, seconds, want) in steps {
        assert_eq!(elector.decide(live.as_ref(), after(seconds)), want, "{name}");
    }
}

#[tokio::test]
async fn one_leads_and_the_other_follows_when_it_gives_up() {
    let server = Arc::default();
    let (mut a, mut b) = (elector(&server, "a"), elector(&server, "b"));
    assert_eq!(a.attempt().await.unwrap(), None);
    assert!(a.fence.is_open(Instant::now()));
    assert_eq!(b.attempt().await.unwrap().as_deref(), Some("a"));
    assert!(!b.fence.is_open(Instant::now()));
    assert_eq!(a.attempt().await.unwrap(), None, "renewed");
    a.release().await;
    assert!(!a.fence.is_open(Instant::now()));
    assert_eq!(b.attempt().await.unwrap(), None);
    assert_eq!(a.attempt().await.unwrap().as_deref(), Some("b"));
    b.release().await;
    a.release().await;
    let stored = server.lease.lock().unwrap().clone().unwrap();
    assert_eq!(
        (&stored["spec"]["holderIdentity"], &stored["spec"]["leaseTransitions"]),
        (&json!(""), &json!(1))
    );
}

#[tokio::test]
async fn who_loses_the_race_for_a_free_lease_does_not_lead() {
    let server: Arc<Server> = Arc::default();
    let mut first = elector(&server, "first");
    first.attempt().await.unwrap();
    first.release().await;
    server.race.store(true, Ordering::Relaxed);
    let mut late = elector(&server, "late");
    assert!(late.attempt().await.is_err());
    assert!(!late.fence.is_open(Instant::now()));
}

#[test]
fn a_leader_ends_before_another_one_begins() {
    assert!(RENEW_DEADLINE + CALL_LIMIT < LEASE);
}
