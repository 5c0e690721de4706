//! What plan, apply and status have in common: the inventory, its secrets, the way to the hosts, and a run being
//! reported from its first event to its last.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::bundles;
use super::connect::{ConnectArgs, Terminal, Unasked};
use super::out::{self, OutputError, Reader};
use super::{Failure, Globals, Telling};
use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::approval::Approved;
use crate::assets::Assets;
use crate::bundle::{BundleError, Offer};
use crate::cluster::postgres::{unasked_parameters, unasked_settings};
use crate::engine::{Cancel, Claim, Connector, Fleet, Scrutiny};
use crate::error::{Exit, Fails};
use crate::inventory::{Inventory, Loaded};
use crate::names::HostName;
use crate::pki::{self, Issued, Why};
use crate::plan::Plan;
use crate::quote;
use crate::report::{
    self, Ended, InventoryFile, Kind, Origin, Outcome, Record, Redactor, Reporter, Running, Show, millis_since,
};
use crate::role;
use crate::vault::{Secrets, Vault, rotation};
use crate::version;
use crate::workflow::certificates::Exchanged;
use crate::workflow::{STRANGER, Scope, Survey, SurveyError, Surveyor};

/// Which inventory, and how to reach its hosts.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// The inventory
    #[arg(value_name = "INVENTORY", default_value = "inventory.toml")]
    pub inventory: PathBuf,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Which hosts to change.
#[derive(Debug, clap::Args)]
pub struct ScopeArgs {
    /// Change only these hosts (`--limit db1,db2`, or several times); a step that needs all its members is never cut
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    limit: Vec<String>,
    /// Work on at most so many hosts at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    parallel: Option<u16>,
}

impl ScopeArgs {
    pub fn scope(&self) -> Scope {
        Scope {
            limit: self.limit.iter().map(|name| HostName::new(name.as_str())).collect(),
            parallel: self.parallel.map(usize::from),
        }
    }
}

/// A run from its first event to its last.
pub struct Session {
    pub inventory: Inventory,
    pub secrets: Secrets,
    pub vault: Vault,
    /// What was issued for this run.
    issued: Vec<Issued>,
    /// The secrets are not as in the vault any more.
    unkept: bool,
    /// Services that run get other certificates.
    exchanges: bool,
    pub assets: Assets,
    /// What a bundle has, when packages come from one.
    pub offer: Option<Offer>,
    pub connector: Arc<dyn Connector>,
    pub cancel: Cancel,
    pub reporter: Reporter,
    scrutiny: Scrutiny,
    running: Running,
    /// Says at once that Ctrl-C was heard.
    listener: JoinHandle<()>,
    begun: Instant,
    started: Timestamp,
    command: &'static str,
    origin: Origin,
    /// Whether an error has been shown when the run is over.
    telling: Telling,
}

const UNASKED_PARAMETER: &str =
    "say it under [postgresql] parameters, or remove it: `patronictl edit-config` on a PostgreSQL host";
const UNASKED_SETTING: &str =
    "somebody has set it by hand: remove it, if it is not wanted, with `patronictl edit-config` on a PostgreSQL host";

/// What a session is for.
pub struct Opening<'a> {
    pub command: &'static str,
    pub show: Show,
    pub globals: &'a Globals,
    pub secrets: Need,
    /// How closely hosts are looked at.
    pub scrutiny: Scrutiny,
}

/// Whether a command needs the passwords and certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Yes,
    /// So that nobody is asked for the passphrase of the vault.
    No,
    /// Only to mask what hosts print, and only if nobody has to be asked for it.
    ToMask,
}

/// What becomes of the secrets when a session is opened: in memory, until the run is approved.
pub enum Step {
    Certificates(pki::Step),
    Passwords(rotation::Step),
}

impl From<pki::Step> for Step {
    fn from(step: pki::Step) -> Self {
        Self::Certificates(step)
    }
}

impl From<rotation::Step> for Step {
    fn from(step: rotation::Step) -> Self {
        Self::Passwords(step)
    }
}

impl Session {
    /// Everything up to the first connection: all that can be wrong on this side is found here.
    pub async fn open(target: &Target, opening: Opening<'_>) -> Result<Self, Failure> {
        Self::open_for(target, opening, pki::Step::Complete).await
    }

    /// The same, with something to be done about the certificates or the passwords.
    pub async fn open_for(target: &Target, opening: Opening<'_>, step: impl Into<Step>) -> Result<Self, Failure> {
        let loaded = Inventory::load(&target.inventory, opening.globals.assets.as_deref())?;
        Self::begin(target, opening, (loaded, step.into())).await
    }

    /// The same, of an inventory that is not in its file yet.
    pub async fn open_loaded(target: &Target, opening: Opening<'_>, loaded: Loaded) -> Result<Self, Failure> {
        Self::begin(target, opening, (loaded, pki::Step::Complete.into())).await
    }

    async fn begin(target: &Target, opening: Opening<'_>, (loaded, step): (Loaded, Step)) -> Result<Self, Failure> {
        let inventory = loaded.inventory;
        let assets = Assets::new(inventory.assets.as_deref())?;
        let redactor = Redactor::default();
        let terminal = Terminal::of(&opening.globals.answers, &redactor);
        let mut vault = Vault::of(&inventory, terminal.clone(), &redactor);
        let exchanges = !matches!(step, Step::Certificates(pki::Step::Complete) | Step::Passwords(_));
        let Known { secrets, issued, unkept } = match opening.secrets {
            Need::Yes => Known::of(&inventory, &mut vault, step)?,
            Need::No => Known::nothing(),
            Need::ToMask => Known::to_mask(&inventory, &redactor),
        };
        let connector = Arc::new(target.connect.connector(&terminal)?);
        let cancel = Cancel::on_signals().map_err(SignalError)?;
        let (reporter, running) = report::start(report::Options {
            cluster: inventory.cluster.clone(),
            show: opening.show,
            store: None,
            redactor,
        });
        let origin = Origin::of_this_process();
        reporter.emit(beginning(opening.command, &inventory, (&origin, loaded.sha256))).await;
        for warning in &loaded.warnings.all {
            let event = Kind::Warned { message: warning.one_line(), help: warning.help.clone() };
            reporter.emit(event).await;
        }
        let renews = issued.iter().any(|issued| issued.why != Why::Missing);
        let phase = secrets.pki.phase();
        if let Some(told) = phase.told() {
            let event = Kind::Warned { message: told.to_owned(), help: Some(phase.help().to_owned()) };
            reporter.emit(event).await;
        }
        if let Some(rotation) = &secrets.rotation {
            let help = format!("go on with `xnat-provision secrets rotate {}`", quote::path(&target.inventory));
            reporter.emit(Kind::Warned { message: rotation.told(), help: Some(help) }).await;
        }
        let listener = tokio::spawn(announce(cancel.clone(), reporter.clone()));
        Ok(Self {
            inventory,
            secrets,
            vault,
            issued,
            unkept,
            exchanges: exchanges || renews,
            assets,
            offer: None,
            connector,
            cancel,
            reporter,
            scrutiny: opening.scrutiny,
            running,
            listener,
            begun: Instant::now(),
            started: Timestamp::now(),
            command: opening.command,
            origin,
            telling: if opening.show == Show::Warnings { Telling::Due } else { Telling::Done },
        })
    }

    pub fn surveyor<'a>(&'a self, scope: &'a Scope) -> Surveyor<'a> {
        Surveyor {
            inventory: &self.inventory,
            secrets: &self.secrets,
            assets: &self.assets,
            connector: self.connector.as_ref(),
            reporter: &self.reporter,
            cancel: &self.cancel,
            scope,
            claim: None,
            scrutiny: self.scrutiny,
            offer: self.offer.as_ref(),
        }
    }

    /// Print what was asked for, without the secrets a host may have put into it.
    pub fn print(&self, text: &str) -> Result<Reader, OutputError> {
        out::text(&self.reporter.redactor().clean(text))
    }

    /// What all members share and nobody has asked for, and what to do about it.
    fn unasked(&self, survey: &Survey) -> Vec<(String, &'static str)> {
        let desired = role::dynamic_config(&self.inventory);
        let Some(actual) = survey.view.config.known() else { return Vec::new() };
        let parameters = unasked_parameters(&desired, actual).into_iter().map(|it| (it, UNASKED_PARAMETER));
        parameters.chain(unasked_settings(&desired, actual).into_iter().map(|it| (it, UNASKED_SETTING))).collect()
    }

    /// What a run that changes hosts tells them of itself.
    pub fn claim(&self) -> Claim {
        Claim {
            run: self.reporter.run_id().to_owned(),
            who: self.origin.who(),
            command: self.command.to_owned(),
            cluster: self.inventory.cluster.clone(),
            since: self.started,
        }
    }

    /// Have the hosts remember this run: once when so many changes are approved, and again how it ended.
    pub async fn remember(&self, (fleet, approved): (&Fleet, &Approved), planned: usize, end: Option<Ending>) {
        let Claim { run, who, command, cluster, since } = self.claim();
        let millis = millis_since(self.begun);
        let end = end.map(|Ending { outcome, changed }| Ended { outcome, changed, millis });
        let record = Record { run, at: since, who, from: self.origin.from.clone(), command, cluster, planned, end };
        for host in fleet.remember(approved, &record).await {
            let message = "this run is not in the history the host keeps".to_owned();
            let help = Some(format!("see whether there is space: ssh {host} df -h /var/lib"));
            self.reporter.for_host(&host).emit(Kind::Warned { message, help }).await;
        }
    }

    /// Before any host is connected to: whatever is wrong with the bundle is found here.
    async fn look_at_the_bundle(&mut self) -> Result<(), BundleError> {
        self.offer = bundles::offer(&self.inventory)?;
        if let Some(message) = bundles::doubts(&self.inventory) {
            let help = "name the key of whoever makes your bundles: bundle_key under [packages]".to_owned();
            self.reporter.emit(Kind::Warned { message, help: Some(help) }).await;
        }
        Ok(())
    }

    /// What is wrong with each host is told before the error that closes the list.
    pub async fn told_of_hosts(&self, error: SurveyError) -> SurveyError {
        if let SurveyError::Hosts { problems } = &error {
            for (host, problem) in problems {
                self.reporter.for_host(host).emit(report::failed(problem, Vec::new())).await;
            }
        }
        error
    }

    /// Read everything; with a claim the hosts are locked, for as long as the survey's connections stand.
    pub async fn survey(&mut self, scope: &Scope, claim: Option<&Claim>) -> Result<Survey, Failure> {
        self.look_at_the_bundle().await?;
        let surveyor = Surveyor { claim, ..self.surveyor(scope) };
        let surveyed = surveyor.survey().await;
        let mut survey = match surveyed {
            Ok(survey) => survey,
            Err(error) => return Err(self.told_of_hosts(error).await.into()),
        };
        survey.plan.notes = pki::told(&self.issued);
        self.reporter.emit(made(&survey.plan)).await;
        for finding in &survey.warnings {
            let reporter = self.reporter.for_host(&finding.host);
            reporter.emit(Kind::Warned { message: finding.message.clone(), help: Some(finding.help.clone()) }).await;
        }
        for warning in &survey.unchangeable {
            let event = Kind::Warned { message: warning.text.clone(), help: Some(warning.help.clone()) };
            self.reporter.emit(event).await;
        }
        for host in survey.strangers.iter().filter(|host| self.inventory.known(host).is_none()) {
            let message = format!("{host} runs as a member of the cluster and is not in the inventory");
            let help = format!("{}; until then nothing is applied", STRANGER);
            self.reporter.emit(Kind::Warned { message, help: Some(help) }).await;
        }
        for (setting, help) in self.unasked(&survey) {
            let message = format!("all members share {setting}, which the inventory does not say; it is left as it is");
            self.reporter.emit(Kind::Warned { message, help: Some(help.to_owned()) }).await;
        }
        Ok(survey)
    }

    /// What was only made for the plan is kept before a host is told of it: passwords for a cluster that has none yet,
    /// certificates that are new. True when the roles have to be expanded again.
    pub fn keep_secrets(&mut self) -> Result<bool, Failure> {
        let incomplete = self.secrets.is_placeholder();
        self.secrets.generate_missing()?;
        self.unkept |= incomplete;
        self.keep_unseen()?;
        Ok(incomplete)
    }

    /// What concerns no host is kept all the same.
    pub fn keep_unseen(&mut self) -> Result<(), Failure> {
        if self.unkept && !self.secrets.is_placeholder() {
            self.vault.keep(&self.secrets)?;
            self.unkept = false;
        }
        Ok(())
    }

    /// A run that has exchanged certificates has not ended before they are in use.
    pub async fn exchanged(&self, survey: &Survey, scope: &Scope) -> Result<(), Failure> {
        if self.exchanges {
            let (gather, pki) = (survey.gather(&self.inventory, &self.secrets), &self.secrets.pki);
            Exchanged { gather, pki, scope }.is_shown(&self.reporter, &self.cancel).await?;
        }
        Ok(())
    }

    /// Everything said so far is on the screen, which is free for a plan or a question.
    pub async fn settle(&mut self) {
        self.running.settle().await;
    }

    /// The end: what failed, the last event, the summary, and how the process ends.
    pub async fn finish(self, result: Result<Done, Failure>) -> Result<Exit, Failure> {
        let Ending { outcome, changed } = Ending::of(result.as_ref().map(|done| done.changed));
        let changed = changed.unwrap_or_else(|| self.reporter.applied());
        if let Err(failure) = &result {
            self.reporter.emit(ending(failure)).await;
        }
        let millis = millis_since(self.begun);
        self.reporter.emit(Kind::RunFinished { outcome, changed, millis }).await;
        let Self { reporter, running, listener, telling, .. } = self;
        listener.abort();
        // an error means that it was aborted; what counts is that its reporter is gone
        listener.await.ok();
        drop(reporter);
        running.finish().await?;
        result.map(|done| done.exit).map_err(|failure| Failure { telling, ..failure })
    }
}

/// The first event of a run.
fn beginning(command: &str, inventory: &Inventory, (origin, sha256): (&Origin, String)) -> Kind {
    Kind::RunStarted {
        command: command.to_owned(),
        cluster: inventory.cluster.clone(),
        hosts: inventory.hosts.iter().map(|host| host.name.clone()).collect(),
        version: version::PROGRAM.to_owned(),
        origin: Some(origin.clone()),
        inventory: Some(InventoryFile { path: inventory.path.display().to_string(), sha256 }),
    }
}

/// The plan, for the journal.
pub(super) fn made(plan: &Plan) -> Kind {
    // a plan is texts and numbers in maps whose keys are texts, which JSON can always say
    Kind::PlanMade { changes: plan.count(), hosts: plan.changed_hosts(), plan: serde_json::to_value(plan).ok() }
}

/// How a run ended.
pub struct Ending {
    outcome: Outcome,
    /// Not known of a run that failed.
    changed: Option<usize>,
}

impl Ending {
    /// From how many changes were made, or why it was given up.
    pub fn of(result: Result<usize, &Failure>) -> Self {
        match result {
            Ok(changed) => Self { outcome: Outcome::Ok, changed: Some(changed) },
            Err(failure) if failure.exit == Exit::Interrupted => Self { outcome: Outcome::Interrupted, changed: None },
            Err(_) => Self { outcome: Outcome::Failed, changed: None },
        }
    }
}

/// What is known before anything is asked of a host.
struct Known {
    secrets: Secrets,
    issued: Vec<Issued>,
    unkept: bool,
}

impl Known {
    fn nothing() -> Self {
        Self { secrets: Secrets::placeholder(), issued: Vec::new(), unkept: false }
    }

    /// The redactor has heard of them when there are keys at hand; without, it knows as much as before.
    fn to_mask(inventory: &Inventory, redactor: &Redactor) -> Self {
        let mut vault = Vault::of(inventory, Arc::new(Unasked), redactor);
        if let Ok(secrets) = vault.open() {
            vault.mask(&secrets);
        }
        Self::nothing()
    }

    /// The passwords and certificates as they will be after the step.
    fn of(inventory: &Inventory, vault: &mut Vault, step: Step) -> Result<Self, Failure> {
        let mut secrets = vault.open()?;
        let before = secrets.pki.to_table();
        let (certificates, rotated) = match step {
            Step::Certificates(step) => (step, false),
            Step::Passwords(step) => (pki::Step::Complete, rotation::advance(&mut secrets, inventory, step)?),
        };
        let issued = pki::advance(&mut secrets.pki, inventory, Timestamp::now(), certificates)?;
        let unkept = rotated || before != secrets.pki.to_table();
        vault.mask(&secrets);
        Ok(Self { secrets, issued, unkept })
    }
}

/// An error of the run is an event: it belongs into the journal and into the summary, once. What somebody has asked to
/// stop has not failed.
fn ending(failure: &Failure) -> Kind {
    let error = failure.diagnostic.as_ref();
    match failure.exit {
        Exit::Interrupted => {
            Kind::Warned { message: error.to_string(), help: error.help().map(|help| help.to_string()) }
        }
        _ => report::failed(error, Vec::new()),
    }
}

/// How a run ended well.
pub struct Done {
    pub exit: Exit,
    pub changed: usize,
}

async fn announce(cancel: Cancel, reporter: Reporter) {
    cancel.cancelled().await;
    reporter.emit(Kind::Interrupted).await;
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot listen for signals")]
#[diagnostic(code(xnat::signals))]
struct SignalError(#[source] std::io::Error);

impl Fails for SignalError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}
