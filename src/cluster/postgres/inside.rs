//! A look inside one member: how its roles and databases differ from what is wanted, and what its parameters are like.

use super::objects::{self, Administrator, Difference, Objects};
use super::settings::{Settings, settings};
use super::{SUPERUSER, SqlError, connect, server, within};
use crate::cluster::http::DEADLINE;
use crate::cluster::view::Gather;
use crate::inventory::Host;

/// What only PostgreSQL itself can tell.
#[derive(Debug, Default)]
pub struct Inside {
    pub difference: Difference,
    pub settings: Settings,
}

impl Inside {
    /// What there will be to do in a cluster that is yet to be made.
    pub fn after_bootstrap(desired: &Objects) -> Self {
        let difference = objects::diff(desired, &objects::after_bootstrap(desired));
        Self { difference, settings: Settings::default() }
    }
}

/// A superuser on one host.
pub fn administrator<'a>(gather: &Gather<'a>, host: &'a Host) -> Result<Administrator<'a>, String> {
    let login = server::superuser(gather, host, SUPERUSER)?;
    Ok(Administrator { transport: gather.transport(&host.name)?, login })
}

/// Look; both questions at once.
pub async fn look(administrator: &Administrator<'_>, desired: &Objects) -> Result<Inside, SqlError> {
    let read_settings = async {
        let client = connect(administrator.transport, &administrator.login).await?;
        within(DEADLINE, &administrator.login.place(), "read its parameters", settings(&client)).await
    };
    let (state, settings) = futures::try_join!(administrator.observe(desired), read_settings)?;
    Ok(Inside { difference: objects::diff(desired, &state), settings })
}
