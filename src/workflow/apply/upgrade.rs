//! What an upgrade does right before a member's restart: newer packages, put in when the member's turn has come and not
//! before, so that a member runs beside the files of another version for seconds only.

use super::{ApplyError, StageRun};
use crate::cluster::http::authority;
use crate::engine::Host as _;
use crate::error::one_line;
use crate::names::HostName;
use crate::quote;
use crate::resource::Action;
use crate::workflow::stage::Stage;
use crate::workflow::upgrade::ETCD_SAVED;

impl StageRun<'_> {
    /// Installing takes a while, so that it is safe to restart has to be seen again afterwards.
    pub(super) async fn install_newer(&mut self, host: &HostName) -> Result<(), ApplyError> {
        if !self.planned.installs().any(|(name, _)| name == host) {
            return Ok(());
        }
        if self.stage == Stage::Etcd {
            self.save_etcd(host).await?;
        }
        self.converge_packages(host).await?;
        match self.stage {
            Stage::Etcd => self.wait_for_other_members(host).await,
            Stage::Postgres => self.wait_until_whole().await.map(drop),
            _ => Ok(()),
        }
    }

    /// The whole of etcd's data, as this member has it; it replaces what an earlier upgrade has saved.
    async fn save_etcd(&self, name: &HostName) -> Result<(), ApplyError> {
        let inventory = self.apply.inventory;
        let (Some(member), Some(host)) = (inventory.host(name), self.apply.survey.fleet.host(name)) else {
            return Ok(());
        };
        let address = authority(&member.address, inventory.etcd.client_port);
        let endpoint = quote::sh(&format!("{}://{address}", inventory.scheme()));
        let tls = if inventory.tls.enabled {
            "--cacert=/etc/etcd/tls/ca.pem --cert=/etc/etcd/tls/server.pem --key=/etc/etcd/tls/server-key.pem"
        } else {
            ""
        };
        let run = format!(
            "set -e\numask 077\nETCDCTL_API=3 etcdctl --endpoints={endpoint} {tls} snapshot save {ETCD_SAVED}.new\n\
             mv -fT -- {ETCD_SAVED}.new {ETCD_SAVED}"
        );
        let failed = |reason| ApplyError::NotSaved { host: name.clone(), reason };
        let performed = host.perform(self.apply.approved, &[Action::RunCommand { run }]).await;
        match performed.map_err(|error| failed(one_line(&error)))?.failure {
            Some(failure) => Err(failed(failure.output)),
            None => {
                self.tell("etcd", &format!("save its data to {ETCD_SAVED} on {name}")).await;
                Ok(())
            }
        }
    }
}
