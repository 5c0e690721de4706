//! A look inside one member: how its roles and databases differ from what is wanted, and what its parameters are like.

use super::objects::{self, Administrator, Difference, Objects};
use super::settings::Settings;
use super::{SqlError, server};
use crate::cluster::view::Gather;
use crate::inventory::Host;

/// What only PostgreSQL itself can tell.
#[derive(Debug, Default)]
pub struct Inside {
    pub difference: Difference,
    pub settings: Settings,
    /// The superuser has another password than the one we know: this is not the cluster of our secrets.
    pub stranger: bool,
}

impl Inside {
    /// What there will be to do in a cluster that is yet to be made.
    pub fn after_bootstrap(desired: &Objects) -> Self {
        let difference = objects::diff(desired, &objects::after_bootstrap(desired));
        Self { difference, settings: Settings::default(), stranger: false }
    }
}

/// A superuser on one host.
pub fn administrator<'a>(gather: &Gather<'a>, host: &'a Host) -> Result<Administrator<'a>, String> {
    // What should be there cannot be told without the passwords that belong to it.
    gather.secrets.ok_or("there are no passwords at hand")?;
    Ok(Administrator { transport: gather.transport(&host.name)?, login: server::superuser(gather, host) })
}

/// Look.
pub async fn look(administrator: &Administrator<'_>, desired: &Objects) -> Result<Inside, SqlError> {
    let (state, settings) = administrator.look(desired).await?;
    let stranger = objects::is_stranger(desired, &state);
    Ok(Inside { difference: objects::diff(desired, &state), settings, stranger })
}
