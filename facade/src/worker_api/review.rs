//! TokenReview, with a short memory: a worker calls every few seconds with the same token.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::catalog::{ClusterError, Reviewed, TokenReviewer};

/// How long an answer counts. A pod that is deleted loses its rights at most so late; below some seconds the
/// API server would be asked for every heartbeat.
const MEMORY: Duration = Duration::from_secs(60);
/// More than that many workers never share a facade; the bound keeps garbage tokens from filling the memory.
const MOST_TOKENS: usize = 10_000;

/// Reviewed tokens by their hash. The tokens themselves are not kept.
#[derive(Default)]
pub struct TokenCache {
    known: Mutex<HashMap<[u8; 32], Known>>,
}

struct Known {
    reviewed: Reviewed,
    until: Timestamp,
}

impl TokenCache {
    /// Whose token this is, or `None` if it is nobody's. Refusals are not remembered.
    ///
    /// # Errors
    /// [`ClusterError`] when the API server does not answer.
    pub async fn review(
        &self,
        cluster: &dyn TokenReviewer,
        token: &str,
    ) -> Result<Option<Reviewed>, ClusterError> {
        self.review_at(cluster, token, Timestamp::now()).await
    }

    async fn review_at(
        &self,
        cluster: &dyn TokenReviewer,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Reviewed>, ClusterError> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.lock().get(&hash).filter(|known| now < known.until) {
            return Ok(Some(known.reviewed.clone()));
        }
        let reviewed = cluster.review(token).await?;
        if let Some(reviewed) = &reviewed {
            let until = end_of_memory(token, now);
            let mut known = self.lock();
            if known.len() >= MOST_TOKENS {
                known.retain(|_, known| now < known.until);
            }
            if known.len() < MOST_TOKENS && now < until {
                known.insert(hash, Known { reviewed: reviewed.clone(), until });
            }
        }
        Ok(reviewed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Known>> {
        // Nothing panics while it is held; should that change, the map is still whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// [`MEMORY`] from now, but never after the token's own end.
fn end_of_memory(token: &str, now: Timestamp) -> Timestamp {
    let until = now + MEMORY;
    match expiry(token) {
        Some(expiry) => until.min(expiry),
        None => now,
    }
}

/// `exp` of a JWT. Its signature has been checked by the API server.
fn expiry(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    Timestamp::from_second(claims.exp).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::BoxFuture;
    use jiff::ToSpan;

    use super::*;

    /// Knows every token that ends in `good`; counts how often it is asked.
    #[derive(Default)]
    struct Reviewer(AtomicU32);

    impl TokenReviewer for Reviewer {
        fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<Reviewed>, ClusterError>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let user = token.ends_with("good").then(|| Reviewed { user: "u".into(), pod: None });
            Box::pin(async move { Ok(user) })
        }
    }

    fn token(expiry: Timestamp, signature: &str) -> String {
        let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{}}}"#, expiry.as_second()));
        format!("e30.{claims}.{signature}")
    }

    #[tokio::test]
    async fn an_answer_counts_for_a_minute_but_not_past_the_tokens_end() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let long = token(now + 1.hour(), "good");
        let short = token(now + 10.seconds(), "good");
        // Token, seconds after the first call, is the API server asked again?
        let cases: [(&str, &str, i64, bool); 5] = [
            ("within the minute", long.as_str(), 59, false),
            ("after the minute", long.as_str(), 60, true),
            ("before the token's end", short.as_str(), 9, false),
            ("after the token's end", short.as_str(), 10, true),
            ("no JWT", "good", 0, true),
        ];
        for (name, token, later, again) in cases {
            let (cache, cluster) = (TokenCache::default(), Reviewer::default());
            for at in [now, now + later.seconds()] {
                let reviewed = cache.review_at(&cluster, token, at).await.expect("answers");
                assert!(reviewed.is_some(), "{name}");
            }
            assert_eq!(cluster.0.load(Ordering::Relaxed), 1 + u32::from(again), "{name}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_not_remembered() {
        let (cache, cluster) = (TokenCache::default(), Reviewer::default());
        for asked in 1..=2 {
            assert_eq!(cache.review(&cluster, "bad").await.expect("answers"), None);
            assert_eq!(cluster.0.load(Ordering::Relaxed), asked);
        }
    }
}
