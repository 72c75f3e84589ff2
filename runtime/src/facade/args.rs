//! How a pod finds its facade: flags, each with its environment variable.

use std::path::PathBuf;

use clap::Args;
use url::Url;

use super::{Facade, TokenFile};

#[derive(Debug, Clone, Args)]
pub struct FacadeArgs {
    /// The facade's internal address, e.g. http://easel-facade.easel.svc:8081
    #[arg(long, env = "EASEL_FACADE_URL", value_name = "URL")]
    pub facade_url: Url,
    /// The pod's ServiceAccount token for the facade; read anew for every call
    #[arg(
        long,
        env = "EASEL_TOKEN_FILE",
        value_name = "FILE",
        default_value = "/var/run/secrets/easel/token"
    )]
    pub token_file: PathBuf,
}

impl FacadeArgs {
    /// The facade, to be called with this client.
    pub fn facade(&self, http: &reqwest::Client) -> Facade {
        Facade::new(http.clone(), self.facade_url.clone(), TokenFile::new(&self.token_file))
    }
}
