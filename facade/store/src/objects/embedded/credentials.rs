//! The service's only credentials: made at the first start, kept beside the objects.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rand::RngCore as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::files::sync_directory;

const FILE: &str = "credentials.json";
/// For nobody but us.
const MODE: u32 = 0o600;

#[derive(Clone, Debug)]
pub(crate) struct EmbeddedCredentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: SecretString,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    access_key_id: String,
    secret_access_key: String,
}

/// Reads the credentials that are there.
pub(super) fn load(directory: &Path) -> io::Result<EmbeddedCredentials> {
    parse(&fs::read(directory.join(FILE))?).map(EmbeddedCredentials::from)
}

/// Reads the credentials, or makes them. A file that cannot be read is not replaced: URLs out there may be
/// signed with what is in it.
pub(super) fn load_or_make(directory: &Path) -> io::Result<EmbeddedCredentials> {
    let path = directory.join(FILE);
    let stored = match fs::read(&path) {
        Ok(json) => {
            fs::set_permissions(&path, fs::Permissions::from_mode(MODE))?;
            parse(&json)?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(directory)?,
        Err(error) => return Err(error),
    };
    Ok(stored.into())
}

fn parse(json: &[u8]) -> io::Result<Stored> {
    serde_json::from_slice(json).map_err(|error| {
        // The error names a place in the file, not what is there.
        io::Error::new(io::ErrorKind::InvalidData, format!("{FILE} is damaged at line {}", error.line()))
    })
}

impl From<Stored> for EmbeddedCredentials {
    fn from(Stored { access_key_id, secret_access_key }: Stored) -> Self {
        Self { access_key_id, secret_access_key: secret_access_key.into() }
    }
}

fn make(directory: &Path) -> io::Result<Stored> {
    let stored =
        Stored { access_key_id: format!("EASEL{}", random_hex(8)), secret_access_key: random_hex(32) };
    let json = serde_json::to_vec(&stored).map_err(io::Error::other)?;
    let aside = directory.join("tmp").join(FILE);
    let mut file = File::options().write(true).create(true).truncate(true).mode(MODE).open(&aside)?;
    file.write_all(&json)?;
    file.sync_all()?;
    fs::rename(aside, directory.join(FILE))?;
    sync_directory(directory)?;
    Ok(stored)
}

fn random_hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    rand::rng().fill_bytes(&mut random);
    hex::encode_upper(random)
}

impl From<&EmbeddedCredentials> for s3s::auth::SimpleAuth {
    fn from(credentials: &EmbeddedCredentials) -> Self {
        Self::from_single(&credentials.access_key_id, credentials.secret_access_key.expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_and_kept_private() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("tmp")).unwrap();
        let first = load_or_make(directory.path()).unwrap();
        assert_eq!(first.secret_access_key.expose_secret().len(), 64);
        let path = directory.path().join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let second = load_or_make(directory.path()).unwrap();
        assert_eq!(first.access_key_id, second.access_key_id);
        assert_eq!(first.secret_access_key.expose_secret(), second.secret_access_key.expose_secret());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        fs::write(&path, "{").unwrap();
        let error = load_or_make(directory.path()).unwrap_err();
        assert_eq!(error.to_string(), "credentials.json is damaged at line 1");
    }
}
