//! An import's word that it counts on the weights of a hash, before a Model's status names them: an object of
//! a few bytes beside them, whose age is that of the word.
//!
//! Weights that are new are young, and so safe by themselves. Old ones that an import finds already there are
//! not: the Model that had them may have been deleted long ago, or be deleted next.

use bytes::Bytes;
use easel_store::jobs::Sha256;
use easel_store::objects::{ObjectError, ObjectStore};

use super::place::claim_key;

/// To be called before anybody is told that the weights are there. It is good for the collector's grace period.
///
/// # Errors
/// That of the object store.
pub async fn claim(objects: &dyn ObjectStore, hash: &Sha256) -> Result<(), ObjectError> {
    objects.put(&claim_key(hash), Bytes::from_static(b"claimed"), "text/plain").await.map(drop)
}
