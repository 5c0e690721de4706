//! Roles of the database: whoever takes over one of them should get no more than it needs.

use super::{apply, notice, warning};
use crate::cluster::assess::Problem;
use crate::cluster::view::ClusterView;
use crate::inventory::Inventory;

pub fn excess(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let attributes = view.excess().filter(|(_, excess)| !excess.attributes.is_empty()).map(|(_, excess)| {
        let text = format!("role {} has {}, which it does not need", excess.role, excess.attributes.join(", "));
        warning(text, apply(inventory))
    });
    let memberships = view.excess().filter_map(|(leader, excess)| {
        let one = excess.membership(leader)?;
        // a site may have given the application one on purpose; nobody has a reason to give our own roles any
        let tell = if excess.role == inventory.database.owner { notice } else { warning };
        Some(tell(one.text, one.help))
    });
    attributes.chain(memberships).collect()
}
