//! Generated passwords, kept in a 0600 file beside the inventory. (Encryption is to come; only this module will change.)

use crate::secret::Secret;

/// Every password the cluster has.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// PostgreSQL's superuser `postgres`.
    pub superuser: Secret,
    /// `replicator`, for streaming replication.
    pub replication: Secret,
    /// `rewind`, for pg_rewind.
    pub rewind: Secret,
    /// Basic authentication of Patroni's REST API, user `patroni`.
    pub rest_api: Secret,
    /// The owner of the application's database.
    pub application: Secret,
    /// HAProxy's statistics page, user `stats`.
    pub statistics: Secret,
}
