//! The script that asks a host how its PostgreSQL, which does not run, has ended.

use crate::quote;

/// The cluster's data, of whatever major version; its own program reads the control file.
pub fn ended(cluster: &str) -> String {
    format!(
        "export LC_ALL=C\nfor dir in /var/lib/postgresql/*/{cluster}; do\n  [ -e \"$dir/global/pg_control\" ] || continue\n  \
         major=${{dir#/var/lib/postgresql/}}\n  \
         \"/usr/lib/postgresql/${{major%%/*}}/bin/pg_controldata\" -D \"$dir\" || exit\ndone\n",
        cluster = quote::sh(cluster)
    )
}
