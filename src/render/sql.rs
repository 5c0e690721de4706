//! What the application needs in a new cluster, as SQL for `psql`. On hosts the same statements go over SSH.

use super::Order;
use crate::cluster::postgres::objects::{after_bootstrap, desired, diff};
use crate::cluster::postgres::{SUPERUSER, scram};
use crate::quote;

/// Everything after Patroni's own bootstrap. Verifiers stand for passwords.
pub fn application(order: &Order<'_>) -> String {
    let objects = desired(order.members, order.secrets);
    let difference = diff(&objects, &after_bootstrap(&objects));
    let mut text = String::from("-- Written by xnat-provision. Run once, when the cluster is made.\n");
    let mut database = SUPERUSER;
    for change in &difference.changes {
        if change.database() != database {
            database = change.database();
            text += &quote::connect(database);
            text.push('\n');
        }
        for statement in change.statements() {
            text += statement.expose();
            text += ";\n";
        }
    }
    kept(text, order)
}

/// A verifier is salted anew each time it is made. The one that is there says the same, and stays.
fn kept(text: String, order: &Order<'_>) -> String {
    let fits = |one: &str| scram::matches(Some(one), &order.secrets.application);
    let verifier = |text: &str| text.split('\'').find(|one| scram::is_verifier(one) && fits(one)).map(str::to_owned);
    match (verifier(&text), order.former.and_then(verifier)) {
        (Some(new), Some(former)) => text.replace(&new, &former),
        _ => text,
    }
}
