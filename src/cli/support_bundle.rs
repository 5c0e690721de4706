//! `support-bundle`: one archive for whoever is to help, without secrets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::connect::{ConnectArgs, Terminal, quietly};
use super::logs::{line, moment};
use super::{Failure, Globals, out, status};
use crate::assets::Assets;
use crate::cluster::{self, Gather};
use crate::engine::{Fleet, Scrutiny, for_each_host};
use crate::error::{Exit, Fails, one_line};
use crate::facts::Facts;
use crate::files;
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::report::journal::Store;
use crate::report::text::printable;
use crate::report::{Redactor, Reporter};
use crate::role;
use crate::transport::Script;
use crate::vault::{Secrets, Vault};
use crate::workflow::logs;
use crate::workflow::support_bundle::{self, Bundle, host, services};

/// So many of the cluster's runs, the newest.
const RUNS: usize = 20;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "In it: the inventory, what `status` says, what the services answer, configuration files, packages, units and logs of every host, and the last runs; manifest.json says what is where and what could not be had. Files with passwords or keys are left out, and every known secret is masked; look through it all the same before you give it away. Exit status: 0 written, with what could be had; 1 failed, 2 a mistake in the inventory, 3 no host could be reached."
)]
pub struct Args {
    /// Where to write it [default: CLUSTER-support-TIME.tar.gz]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How far back logs go: "24h", "3d", or a time such as 2026-11-24T17:30Z
    #[arg(long, value_name = "WHEN", default_value = "24h", value_parser = moment)]
    since: Timestamp,
    /// The inventory
    #[arg(value_name = "INVENTORY", default_value = "inventory.toml")]
    inventory: PathBuf,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot write {}", path.display())]
#[diagnostic(code(xnat::bundle::write), help("name another place with --output"))]
struct WriteError {
    path: PathBuf,
    source: std::io::Error,
}

impl Fails for WriteError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let inventory = Inventory::load(&args.inventory, globals.assets.as_deref())?.inventory;
    let assets = Assets::new(inventory.assets.as_deref())?;
    let redactor = Redactor::default();
    let terminal = Terminal::of(&globals.answers, &redactor);
    let (secrets, told) = open(&inventory, &terminal);
    let connector = args.connect.connector(&terminal)?;
    let mut fleet = quietly(&inventory, &connector).await;
    let bundle = Bundle::new(&inventory.cluster, &redactor, told);
    let mut making = Making { inventory: &inventory, assets: &assets, secrets: &secrets, fleet: &fleet, bundle };
    making.all(args.since).await?;
    let bundle = making.bundle;
    let answered = !fleet.connections.is_empty();
    fleet.close(&Reporter::muted()).await;
    finish(&bundle, &args, globals)?;
    Ok(if answered { Exit::Ok } else { Exit::Unreachable })
}

/// The vault, if it can be opened, and what that means for the archive.
fn open(inventory: &Inventory, terminal: &Arc<Terminal>) -> (Secrets, String) {
    let mut vault = Vault::of(inventory, terminal.clone(), &terminal.redactor);
    match vault.open() {
        Ok(secrets) => {
            vault.mask(&secrets);
            (secrets, "those of the vault are masked".to_owned())
        }
        Err(error) => {
            let told = format!("not masked, since the vault could not be opened: {}", one_line(&error));
            (Secrets::placeholder(), told)
        }
    }
}

struct Making<'a> {
    inventory: &'a Inventory,
    assets: &'a Assets,
    secrets: &'a Secrets,
    fleet: &'a Fleet,
    bundle: Bundle,
}

impl Making<'_> {
    async fn all(&mut self, since: Timestamp) -> Result<(), Failure> {
        self.inventory_file();
        self.runs();
        let unreachable = self.fleet.reasons();
        for (host, reason) in &unreachable {
            self.bundle.miss(&format!("everything of {host}"), reason);
        }
        let (inventory, connections) = (self.inventory, &self.fleet.connections);
        let gather = Gather { inventory, connections, unreachable: &unreachable, secrets: self.secrets.real() };
        let view = cluster::gather(&gather).await;
        let health = cluster::assess(&view, inventory);
        self.bundle.add("status.json", "xnat-provision status --json", &status::json_document(&view, &health)?);
        services::add(&mut self.bundle, &gather).await;
        let facts = self.facts().await;
        self.hosts(facts).await;
        self.logs(since).await;
        Ok(())
    }

    fn inventory_file(&mut self) {
        let path = &self.inventory.path;
        let source = path.display().to_string();
        let shown = files::read_text(path).map_err(|error| error.to_string());
        match shown.and_then(|text| support_bundle::inventory(&text).map_err(|error| error.to_string())) {
            Ok(text) => self.bundle.add("inventory.toml", &source, &text),
            Err(why) => self.bundle.miss(&source, &why),
        }
    }

    /// Journals of this machine; what the hosts remember is among their files.
    fn runs(&mut self) {
        let runs = Store::of_user().and_then(|store| store.runs(Some(&self.inventory.cluster)));
        let runs = match runs {
            Ok(runs) => runs,
            Err(error) => return self.bundle.miss("the runs of this machine", &one_line(&error)),
        };
        for run in runs.into_iter().take(RUNS) {
            let source = format!("xnat-provision history show --json {}", run.id);
            match files::read_text(&run.path) {
                Ok(text) => self.bundle.add(&format!("runs/{}.jsonl", run.id), &source, &text),
                Err(error) => self.bundle.miss(&source, &error.to_string()),
            }
        }
    }

    async fn facts(&mut self) -> BTreeMap<HostName, Facts> {
        let mut all = BTreeMap::new();
        let gathered = self.fleet.gather_facts(self.inventory, Scrutiny::NewHosts, &Reporter::muted()).await;
        for (name, facts) in gathered {
            let facts = facts.map_err(|error| one_line(&error));
            let text = facts.as_ref().map_err(Clone::clone);
            match text.and_then(|facts| out::json_text(facts).map_err(|error| error.to_string())) {
                Ok(text) => self.bundle.add(&format!("hosts/{name}/facts.json"), "what plan reads first", &text),
                Err(why) => self.bundle.miss(&format!("facts of {name}"), &why),
            }
            all.extend(facts.ok().map(|facts| (name, facts)));
        }
        all
    }

    async fn hosts(&mut self, facts: BTreeMap<HostName, Facts>) {
        let mut scripts = BTreeMap::new();
        for (name, facts) in &facts {
            let Some(host) = self.inventory.known(name) else { continue };
            let (inventory, secrets, assets) = (self.inventory, self.secrets, self.assets);
            match role::expand(&role::Input { inventory, host, facts, secrets, assets }) {
                Ok(roles) => _ = scripts.insert(name.clone(), host::script(&host::managed(&roles))),
                Err(error) => self.bundle.miss(&format!("files of {name}"), &one_line(&error)),
            }
        }
        let (fleet, parallel) = (self.fleet, scripts.len());
        let printed = for_each_host(scripts.keys().cloned().collect(), parallel, |name| {
            let script = Script::as_root("read files for the bundle", scripts[&name].clone());
            async move { fleet.connections[&name].run(script).await }
        });
        for (name, output) in printed.await {
            match output {
                Ok(output) => host::add(&mut self.bundle, &name, &output.stdout),
                Err(error) => self.bundle.miss(&format!("files of {name}"), &one_line(&error)),
            }
        }
    }

    async fn logs(&mut self, since: Timestamp) {
        let logs = logs::read(self.fleet, self.inventory, since).await;
        let source = format!("xnat-provision logs --since {since:.0}");
        self.bundle.add("logs.txt", &source, &logs.entries.iter().map(line).collect::<String>());
        for host in &logs.cut {
            let why = format!("only the newest {} entries were read", logs::MOST);
            self.bundle.miss(&format!("older logs of {host}"), &why);
        }
        for (host, why) in &logs.silent {
            self.bundle.miss(&format!("logs of {host}"), why);
        }
    }
}

fn finish(bundle: &Bundle, args: &Args, globals: &Globals) -> Result<(), Failure> {
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.tar.gz", bundle.name())));
    let failed = |source| WriteError { path: path.clone(), source };
    let archive = bundle.archive().map_err(failed)?;
    let file = files::beside(&path, &archive).map_err(failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    if globals.json {
        let manifest = &bundle.manifest;
        out::json(&json!({ "archive": path, "bytes": archive.len(), "manifest": manifest }))?;
    } else {
        out::text(&format!("{}\n", path.display()))?;
    }
    tell(bundle, archive.len());
    Ok(())
}

#[expect(clippy::print_stderr, reason = "remarks beside the path this command prints")]
fn tell(bundle: &Bundle, bytes: usize) {
    let manifest = &bundle.manifest;
    let unreached = manifest.missing.iter().filter(|missing| missing.what.starts_with("everything of "));
    unreached.for_each(|missing| eprintln!("warning: not in it: {}: {}", missing.what, printable(&missing.why)));
    eprintln!("{} files, {} KiB; secrets: {}", manifest.files.len(), bytes.div_ceil(1024), manifest.secrets);
    eprintln!("Look through it before you give it away; what is missing and why is in its manifest.json.");
}
