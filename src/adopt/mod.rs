//! From a cluster that somebody else has made, or that this program has made and whose inventory is lost, to an inventory.
//! `script` asks a host, [`Seen`] is its answer; [`adopt`] makes of all of them the text of an inventory that this
//! program's own reader accepts, and says of everything that the text cannot say that it is different. Pure: nothing is
//! asked or written here.

mod address;
mod compare;
mod database;
mod difference;
mod draft;
mod etcd;
mod firewall;
mod haproxy;
mod hba;
mod hosts;
mod order;
mod parameters;
mod patroni;
mod seen;
mod settings;
mod shared;
mod tls;

use std::path::Path;

use crate::error::{Exit, Fails};
use crate::facts;
use crate::inventory::{Inventory, InventoryErrors, Problems};
use crate::quote;
use crate::role::dynamic_config;

pub use difference::Difference;
pub use hosts::{Login, Looked, Other};
pub use seen::{Seen, SeenError};

use draft::Draft;
use hosts::Hosts;
use settings::Found;

const LOOK: &str = include_str!("look.sh");
const PATRONI: &str = include_str!("look.py");

/// What a host is asked: the probe of every run, and what runs there. One script, one round trip.
pub fn script() -> String {
    let defaults = defaults("xnat").expect("a good name");
    let parameters: Vec<String> =
        parameters::of(&dynamic_config(&defaults)).into_iter().map(|(name, _)| name).collect();
    format!(
        "{}\necho adopt=begin\n{LOOK}export XP_PARAMETERS={}\nif command -v \"$python\" >/dev/null 2>&1; then\n    \
         \"$python\" - <<'XP_PYTHON'\n{PATRONI}XP_PYTHON\nfi\necho adopt=end\n",
        facts::PROBE,
        quote::sh(&parameters.join(" "))
    )
}

/// An inventory of a cluster of that name, in which everything that can be left out is, so that it has its default.
fn defaults(cluster: &str) -> Result<Inventory, AdoptError> {
    let host = "[[host]]\nname = \"db1\"\naddress = \"10.0.0.1\"\nroles = [\"etcd\", \"postgres\"]\n";
    let text = format!("[cluster]\nname = \"{cluster}\"\n{host}");
    let loaded = Inventory::of_text(&text, Path::new("inventory.toml"), None);
    loaded.map(|loaded| loaded.inventory).map_err(|source| AdoptError::Impossible { source })
}

/// What is wanted besides the hosts' answers.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Where the inventory is going to be.
    pub path: &'a Path,
    /// A directory with roles and templates.
    pub assets: Option<&'a Path>,
    /// The application's database; the largest one that no superuser owns unless given.
    pub database: Option<&'a str>,
}

/// An inventory, and what it does not say.
#[derive(Debug)]
pub struct Adopted {
    pub text: String,
    pub inventory: Inventory,
    /// The reader's own remarks.
    pub warnings: Problems,
    pub differences: Vec<Difference>,
    /// Hosts that the cluster names and that nobody has looked at.
    pub others: Vec<Other>,
    /// This program has made it, so that there is a vault somewhere.
    pub ours: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AdoptError {
    #[error("none of {hosts} runs a Patroni that could be looked at{}", told(problems))]
    #[diagnostic(
        code(xnat::adopt::no_patroni),
        help("name the hosts with PostgreSQL too; see there: `systemctl status patroni`, `pgrep -a patroni`")
    )]
    NoPatroni { hosts: String, problems: Vec<String> },
    #[error("these hosts are of several Patroni clusters: {scopes}")]
    #[diagnostic(code(xnat::adopt::several), help("name the hosts of one cluster only"))]
    Several { scopes: String },
    #[error("the Patroni of {host} keeps its leader lock in {store}, and this program knows etcd's version 3 only")]
    #[diagnostic(
        code(xnat::adopt::store),
        help(
            "move Patroni to `etcd3` first, as its documentation says; or make a new cluster and move the data there"
        )
    )]
    OtherStore { host: String, store: String },
    #[error("the cluster has no database {wanted}")]
    #[diagnostic(code(xnat::adopt::database), help("{known}"))]
    NoDatabase { wanted: String, known: String },
    #[error("no inventory can say what was found; nothing was written")]
    #[diagnostic(code(xnat::adopt::impossible), help("what is wrong with it stands below, as of an inventory"))]
    Impossible {
        #[source]
        #[diagnostic_source]
        source: InventoryErrors,
    },
}

fn told(problems: &[String]) -> String {
    if problems.is_empty() { String::new() } else { format!(" ({})", problems.join("; ")) }
}

impl Fails for AdoptError {
    fn exit(&self) -> Exit {
        match self {
            Self::Several { .. } | Self::NoDatabase { .. } => Exit::Usage,
            Self::NoPatroni { .. } | Self::OtherStore { .. } | Self::Impossible { .. } => Exit::Failed,
        }
    }
}

/// The inventory of what was found on these hosts, in the order in which they were named.
pub fn adopt(looked: Vec<Looked>, login: &Login, wish: Wish<'_>) -> Result<Adopted, AdoptError> {
    let mut differences = Vec::new();
    let hosts = Hosts::of(looked, &mut differences)?;
    let mut draft = Draft::default();
    hosts.write(login, &mut draft);
    let defaults = defaults(&hosts.cluster)?;
    let database = database::choose(&hosts, wish.database, &mut differences)?;
    settings::write(&Found { hosts: &hosts, database, defaults: &defaults }, (&mut draft, &mut differences));
    let loaded = draft.settle(wish, &mut differences)?;
    differences.extend(compare::all(&hosts, &loaded.inventory));
    let differences = difference::gathered(differences);
    let text = draft.text(&differences);
    // what is written is what was read, comments and all
    let loaded =
        Inventory::of_text(&text, wish.path, wish.assets).map_err(|source| AdoptError::Impossible { source })?;
    let (others, ours) = (hosts.others(), hosts.is_ours());
    Ok(Adopted { text, inventory: loaded.inventory, warnings: loaded.warnings, differences, others, ours })
}
