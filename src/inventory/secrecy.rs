//! Where secrets are kept and how they are opened, as it is written; part of `raw`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model;
use super::values::Strings;

/// The file of generated passwords and certificates beside the inventory, and what opens it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Vault {
    /// `age` keeps it encrypted (`xnat.toml` has `xnat.vault`), `none` as plain text (`xnat.secrets.toml`).
    pub encryption: model::Encryption,
    /// File with the age identity that opens it, or a list of them; without one it has a passphrase. `~/` is your home directory.
    pub identity: Strings,
    /// Who else opens it: age recipients (`age1…`), one or a list.
    pub recipients: Strings,
    /// A shell command that prints the passphrase, such as `pass show xnat-vault`; asked for on the terminal unless given.
    pub passphrase_command: Option<String>,
}

/// Passwords you keep elsewhere; what is named here is neither made nor written into the vault.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// PostgreSQL's superuser.
    pub superuser: Option<Reference>,
    /// Streaming replication.
    pub replication: Option<Reference>,
    /// pg_rewind.
    pub rewind: Option<Reference>,
    /// Patroni's REST API.
    pub rest_api: Option<Reference>,
    /// The owner of the application's database.
    pub application: Option<Reference>,
    /// HAProxy's statistics page.
    pub statistics: Option<Reference>,
}

impl Secrets {
    /// Those that are given, by name.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &Reference)> {
        let Self { superuser, replication, rewind, rest_api, application, statistics } = self;
        let all = [
            ("superuser", superuser),
            ("replication", replication),
            ("rewind", rewind),
            ("rest_api", rest_api),
            ("application", application),
            ("statistics", statistics),
        ];
        all.into_iter().filter_map(|(name, reference)| Some((name, reference.as_ref()?)))
    }
}

/// Where one password is: exactly one of these.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reference {
    /// An environment variable of this program.
    pub env: Option<String>,
    /// A file only its owner can read. Relative to this file.
    pub file: Option<String>,
    /// A shell command that prints it, such as `pass show xnat`.
    pub command: Option<String>,
}
