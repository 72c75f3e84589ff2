//! Finding the ApiKey that a presented key belongs to.

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::Caller;
use crate::catalog::KeyView;

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Ask for pictures, see the results.
    Inference,
    /// Upload models.
    Models,
    /// Train.
    Training,
    /// All of these.
    Admin,
}

/// Why a call is refused. Clients are told "Forbidden" and no more; the log gets the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("no x-api-key header")]
    Missing,
    #[error("no ApiKey has this key")]
    Unknown,
    #[error("ApiKey {namespace}/{name} is suspended")]
    Suspended { namespace: String, name: String },
    #[error("ApiKey {namespace}/{name} has expired")]
    Expired { namespace: String, name: String },
    #[error("ApiKey {namespace}/{name} lacks the scope {scope:?}")]
    Scope { namespace: String, name: String, scope: Scope },
}

/// Looks `presented` up among `keys`.
///
/// Every key is compared, in constant time, so that the time tells nothing about which one matched.
/// Should two objects hold the same hash, the older one counts: a tenant who has seen another's hash
/// cannot draw that tenant's calls to himself by copying it.
///
/// # Errors
/// [`Denied`] says why no caller came of it.
pub fn find(mut keys: Vec<KeyView>, presented: &[u8], now: Timestamp) -> Result<Caller, Denied> {
    keys.sort_by(|a, b| (a.created, &a.namespace, &a.name).cmp(&(b.created, &b.namespace, &b.name)));
    let digest: [u8; 32] = Sha256::digest(presented).into();
    // Place of the match counted from 1; backwards, so that the first one stays.
    let mut place = 0_u64;
    for (index, key) in keys.iter().enumerate().rev() {
        place.conditional_assign(&(index as u64 + 1), digest.ct_eq(&key.sha256));
    }
    let found = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
    let Some(key) = found.map(|index| keys.swap_remove(index)) else {
        return Err(Denied::Unknown);
    };
    let KeyView { namespace, name, endpoint, scopes, expires, suspended, .. } = key;
    if suspended {
        return Err(Denied::Suspended { namespace, name });
    }
    if expires.is_some_and(|end| end <= now) {
        return Err(Denied::Expired { namespace, name });
    }
    Ok(Caller { namespace, key_name: name, scopes, endpoint })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str, plain: &str) -> KeyView {
        KeyView {
            namespace: namespace.into(),
            name: name.into(),
            created: Some(Timestamp::UNIX_EPOCH),
            sha256: Sha256::digest(plain).into(),
            endpoint: None,
            scopes: vec![Scope::Inference],
            expires: None,
            suspended: false,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn only_a_live_key_makes_a_caller() {
        let now = at("2026-06-01T00:00:00Z");
        let keys = || {
            vec![
                key("a", "live", "one"),
                KeyView { suspended: true, ..key("a", "off", "two") },
                KeyView { expires: Some(at("2026-05-31T00:00:00Z")), ..key("b", "old", "three") },
                KeyView { expires: Some(at("2026-06-02T00:00:00Z")), ..key("b", "soon", "four") },
            ]
        };
        let (a, b) = (|| "a".to_owned(), || "b".to_owned());
        let cases = [
            ("one", Ok(("a", "live"))),
            ("four", Ok(("b", "soon"))),
            ("two", Err(Denied::Suspended { namespace: a(), name: "off".into() })),
            ("three", Err(Denied::Expired { namespace: b(), name: "old".into() })),
            ("One", Err(Denied::Unknown)),
            ("", Err(Denied::Unknown)),
        ];
        for (presented, want) in cases {
            let got = find(keys(), presented.as_bytes(), now);
            let got = got.as_ref().map(|caller| (caller.namespace.as_str(), caller.key_name.as_str()));
            assert_eq!(got, want.as_ref().copied(), "{presented:?}");
        }
        assert_eq!(find(Vec::new(), b"one", now).err(), Some(Denied::Unknown));
    }

    #[test]
    fn a_copied_hash_draws_no_calls_away() {
        let later = Some(at("2026-01-01T00:00:00Z"));
        let copy = KeyView { created: later, ..key("attacker", "copy", "one") };
        let caller = find(vec![copy, key("victim", "own", "one")], b"one", at("2026-06-01T00:00:00Z"));
        assert_eq!(caller.expect("known").namespace, "victim");
    }
}
