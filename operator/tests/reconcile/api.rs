//! An API server in memory: objects by path, with UIDs, resource versions, generations, server-side apply,
//! label selectors, preconditions and garbage collection, as far as the operator uses them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::client::{Body, DynBody};
use serde_json::{Value, json};

use crate::merge;

/// Shared with the clients that talk to it; outlives every simulated process.
#[derive(Clone, Default)]
pub struct Api(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// What each manager applied, by path, subresource and manager.
    applied: HashMap<(String, String), Value>,
    version: u64,
    uids: u64,
    writes: Vec<String>,
}

type Answer = (StatusCode, Value);

/// A request path: the collection, and below it a name and a subresource.
struct Target {
    collection: String,
    name: Option<String>,
    subresource: String,
}

impl Target {
    fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let namespaced =
            parts.iter().position(|part| *part == "namespaces").expect("only namespaced requests");
        let (collection, rest) = parts.split_at(namespaced + 3);
        Self {
            collection: collection.join("/"),
            name: rest.first().map(|name| (*name).to_owned()),
            subresource: rest.get(1).copied().unwrap_or_default().to_owned(),
        }
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection, self.name.clone().unwrap_or_default())
    }
}

impl Api {
    /// Answers one request.
    pub async fn answer(&self, request: Request<Body>) -> Response<Box<DynBody>> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.expect("a request body in memory").to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let mut query: HashMap<String, String> =
            parts.uri.query().unwrap_or_default().split('&').filter_map(pair).collect();
        // A merge has a field manager too, but no part of the object belongs to it afterwards.
        if parts.headers.get("content-type").is_some_and(|kind| kind == "application/merge-patch+json") {
            query.remove("fieldManager");
        }
        let (code, value) = self.handle(&parts.method, &Target::of(parts.uri.path()), &query, &body);
        let bytes = Full::from(value.to_string()).map_err(|never| -> tower::BoxError { match never {} });
        let mut response = Response::new(Box::new(bytes) as Box<DynBody>);
        *response.status_mut() = code;
        response
    }

    fn handle(
        &self,
        method: &Method,
        target: &Target,
        query: &HashMap<String, String>,
        body: &Value,
    ) -> Answer {
        let mut state = self.0.lock().unwrap();
        if *method != Method::GET {
            state.writes.push(format!("{method} {} {}", target.path(), target.subresource));
        }
        match method.as_str() {
            "GET" if target.name.is_some() => state.get(target),
            "GET" => state.list(target, query.get("labelSelector").map_or("", String::as_str)),
            "PATCH" => state.patch(target, query, body),
            "POST" => state.create(target, body.clone()),
            "PUT" => state.replace(target, body),
            "DELETE" => state.delete(target, body),
            other => panic!("the operator sent a {other}"),
        }
    }

    /// Stores an object as a person would, answering with it.
    pub fn put(&self, collection: &str, object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let target =
            Target { collection: collection.to_owned(), name: Some(name), subresource: String::new() };
        let mut state = self.0.lock().unwrap();
        state.store(&target, object).1
    }

    /// Changes an object as somebody other than the operator would.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.0.lock().unwrap();
        let mut object = state.objects.get(path).unwrap_or_else(|| panic!("{path} exists")).clone();
        change(&mut object);
        state.save(path, object);
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    /// All objects below a prefix.
    pub fn all(&self, prefix: &str) -> Vec<(String, Value)> {
        let state = self.0.lock().unwrap();
        let below = state.objects.iter().filter(|(path, _)| path.starts_with(prefix));
        below.map(|(path, object)| (path.clone(), object.clone())).collect()
    }

    /// Deletes an object as a person would: it stays as long as it has finalizers.
    pub fn delete(&self, path: &str) {
        let mut state = self.0.lock().unwrap();
        let Some(mut object) = state.objects.get(path).cloned() else { return };
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        state.save(path, object);
        state.remove_if_released(path);
    }

    /// Deletes an object and, as the garbage collector would, everything that it owns.
    pub fn remove(&self, path: &str) {
        self.0.lock().unwrap().remove(path);
    }

    /// Changes with every change of an object.
    pub fn version(&self) -> u64 {
        self.0.lock().unwrap().version
    }

    /// The write requests since the last call.
    pub fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().writes)
    }
}

/// `key=value` of a query, decoded.
fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let mut decoded = Vec::new();
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hex = [bytes.next()?, bytes.next()?];
                decoded.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
            }
            b'+' => decoded.push(b' '),
            other => decoded.push(other),
        }
    }
    Some((key.to_owned(), String::from_utf8(decoded).ok()?))
}

fn refuse(code: StatusCode, message: &str) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
        "reason": code.canonical_reason().unwrap_or_default().replace(' ', ""), "code": code.as_u16()});
    (code, status)
}

fn not_found() -> Answer {
    refuse(StatusCode::NOT_FOUND, "not found")
}

impl State {
    fn get(&self, target: &Target) -> Answer {
        self.objects.get(&target.path()).map_or_else(not_found, |found| (StatusCode::OK, found.clone()))
    }

    fn list(&self, target: &Target, selector: &str) -> Answer {
        let prefix = format!("{}/", target.collection);
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(path, object)| path.starts_with(&prefix) && selects(selector, object))
            .map(|(_, object)| object)
            .collect();
        let version = self.version.to_string();
        let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version},
            "items": items});
        (StatusCode::OK, list)
    }

    fn patch(&mut self, target: &Target, query: &HashMap<String, String>, body: &Value) -> Answer {
        let path = target.path();
        let live = self.objects.get(&path).cloned();
        let Some(manager) = query.get("fieldManager") else {
            let Some(mut live) = live else { return not_found() };
            let wanted = &body["metadata"]["resourceVersion"];
            if !wanted.is_null() && *wanted != live["metadata"]["resourceVersion"] {
                return refuse(StatusCode::CONFLICT, "the object has been modified");
            }
            merge::merge(&mut live, body);
            let saved = self.save(&path, live);
            self.remove_if_released(&path);
            return (StatusCode::OK, saved);
        };
        let uid = &body["metadata"]["uid"];
        let part = match target.subresource.as_str() {
            "status" => json!({"status": body["status"]}),
            _ => {
                let mut part = body.clone();
                part.as_object_mut().unwrap().remove("status");
                part
            }
        };
        let key = (format!("{path}:{}", target.subresource), manager.clone());
        let old = self.applied.get(&key).cloned();
        let answer = match live {
            None if !target.subresource.is_empty() => return not_found(),
            None if !uid.is_null() => return refuse(StatusCode::CONFLICT, "uid mismatch: no such object"),
            None => self.store(target, part.clone()),
            Some(live) if !uid.is_null() && *uid != live["metadata"]["uid"] => {
                return refuse(StatusCode::CONFLICT, "uid mismatch");
            }
            Some(live) => {
                let merged = merge::apply(&live, old.as_ref(), &part);
                if live["kind"] == "Job" && merged["spec"] != live["spec"] {
                    return refuse(StatusCode::UNPROCESSABLE_ENTITY, "spec.template: field is immutable");
                }
                (StatusCode::OK, self.save(&path, merged))
            }
        };
        self.applied.insert(key, part);
        answer
    }

    fn create(&mut self, target: &Target, mut body: Value) -> Answer {
        let name = body["metadata"]["name"].as_str().expect("a name").to_owned();
        let target =
            Target { collection: target.collection.clone(), name: Some(name), subresource: String::new() };
        if self.objects.contains_key(&target.path()) {
            return refuse(StatusCode::CONFLICT, "already exists");
        }
        body["metadata"]["namespace"] = target.collection.split('/').rev().nth(1).into();
        self.store(&target, body)
    }

    /// Stores a new object.
    fn store(&mut self, target: &Target, mut object: Value) -> Answer {
        self.uids += 1;
        object["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
        object["metadata"]["generation"] = json!(1);
        (StatusCode::CREATED, self.save(&target.path(), object))
    }

    fn replace(&mut self, target: &Target, body: &Value) -> Answer {
        let Some(live) = self.objects.get(&target.path()) else { return not_found() };
        if body["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"] {
            return refuse(StatusCode::CONFLICT, "the object has been modified");
        }
        (StatusCode::OK, self.save(&target.path(), body.clone()))
    }

    fn delete(&mut self, target: &Target, body: &Value) -> Answer {
        let Some(live) = self.objects.get(&target.path()) else { return not_found() };
        let wanted = &body["preconditions"]["uid"];
        if !wanted.is_null() && *wanted != live["metadata"]["uid"] {
            return refuse(StatusCode::CONFLICT, "uid mismatch");
        }
        self.remove(&target.path());
        (StatusCode::OK, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }

    fn remove(&mut self, path: &str) {
        let Some(object) = self.objects.remove(path) else { return };
        self.version += 1;
        self.applied.retain(|(of, _), _| of.split(':').next() != Some(path));
        let uid = &object["metadata"]["uid"];
        let owned = |child: &Value| {
            let owners = child["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == *uid))
        };
        let children: Vec<String> =
            self.objects.iter().filter(|(_, child)| owned(child)).map(|(path, _)| path.clone()).collect();
        for child in children {
            self.remove(&child);
        }
    }

    /// An object that is being deleted goes with its last finalizer.
    fn remove_if_released(&mut self, path: &str) {
        let Some(object) = self.objects.get(path) else { return };
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|held| !held.is_empty());
        if !object["metadata"]["deletionTimestamp"].is_null() && !held {
            self.remove(path);
        }
    }

    /// Saves an object if it differs, with a new version and, for a new spec, a new generation.
    fn save(&mut self, path: &str, mut object: Value) -> Value {
        if let Some(live) = self.objects.get(path) {
            if *live == object {
                return object;
            }
            if live["spec"] != object["spec"] {
                let generation = live["metadata"]["generation"].as_i64().unwrap_or(0);
                object["metadata"]["generation"] = json!(generation + 1);
            }
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        object
    }
}

/// Does the object carry all labels of a `key=value,…` selector?
fn selects(selector: &str, object: &Value) -> bool {
    selector.split(',').filter(|term| !term.is_empty()).all(|term| {
        let (key, value) = term.split_once('=').expect("only equality is used");
        object["metadata"]["labels"][key] == value
    })
}
