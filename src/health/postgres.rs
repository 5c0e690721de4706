//! PostgreSQL: what fills up, what wears out, and what was changed.

use super::finding::{Finding, Limits, State};
use super::{Case, Check, logged, on, sql};
use crate::cluster::initialize::Initialize;
use crate::cluster::postgres::vitals::{Age, Hold, Holding, Vitals};
use crate::names::HostName;

pub const CHECKS: [Check; 9] = [
    Check {
        id: "postgres-database",
        title: "the application's database is there",
        rules: &["database"],
        look: database,
    },
    Check { id: "postgres-system", title: "all members are of one database", rules: &[], look: system },
    Check {
        id: "postgres-connections",
        title: "less than 80 % of the connections are in use; 95 %: critical",
        rules: &[],
        look: connections,
    },
    Check {
        id: "postgres-transaction-age",
        title: "fewer than 500 million transactions wait to be frozen; 1500 million: critical",
        rules: &[],
        look: ages,
    },
    Check {
        id: "postgres-long-transactions",
        title: "no transaction is under way for 12 h (1 h: a notice), no prepared one for 1 h",
        rules: &[],
        look: holding,
    },
    Check { id: "postgres-checksums", title: "no page was damaged", rules: &[], look: checksums },
    Check {
        id: "postgres-restart",
        title: "no setting waits for a restart",
        rules: &["pending-restart"],
        look: |case| answered(case, "none"),
    },
    Check {
        id: "postgres-settings",
        title: "nobody has set anything with ALTER SYSTEM",
        rules: &["altered"],
        look: |case| answered(case, "none"),
    },
    Check {
        id: "postgres-roles",
        title: "roles can do no more than they need",
        rules: &["excess"],
        look: |case| led(case, "as wanted"),
    },
];

/// Of those that are not kept for superusers.
pub const CONNECTIONS: Limits = Limits { warning: 0.8, critical: 0.95 };
/// autovacuum freezes by force at 200 million (rows) and 400 million (multixacts); at 2^31 nothing is written any more.
pub const TRANSACTIONS: Limits = Limits { warning: 500e6, critical: 1500e6 };
const HOUR: f64 = 3600.0;

/// Well, unless `status` complains; unknown where nobody answers.
fn answered(case: &Case<'_>, well: &str) -> Vec<Finding> {
    case.each_member(|host, _| vec![Finding::ok(well).on(host)])
}

/// The same of what only the leader is asked.
fn led(case: &Case<'_>, well: &str) -> Vec<Finding> {
    vec![case.leader().map_or_else(|unknown| unknown, |_| Finding::ok(well))]
}

fn database(case: &Case<'_>) -> Vec<Finding> {
    led(case, &case.inventory.database.name)
}

/// As etcd knows it, or else as the leader has it.
fn system(case: &Case<'_>) -> Vec<Finding> {
    let known = match case.view.initialized.known() {
        Some(Initialize::Done { system }) => Some(system.as_str()),
        _ => case.leader().ok().map(|(_, vitals)| vitals.system.as_str()),
    };
    let Some(known) = known else { return vec![Finding::unknown("nobody says which database it should be")] };
    case.each_member(|host, vitals| {
        let finding = match vitals.system == known {
            true => Finding::ok("the same"),
            false => Finding::critical(format!(
                "PostgreSQL on {host} is of another database ({}) than the cluster ({known})",
                vitals.system
            )),
        };
        vec![finding.on(host).fix("see whose data it is before anything else; nothing should be removed yet")]
    })
}

fn connections(case: &Case<'_>) -> Vec<Finding> {
    case.each_member(|host, vitals| {
        let (used, limit) = (vitals.connections.used, vitals.connections.limit);
        let state = CONNECTIONS.judge(used as f64 / (limit.max(1) as f64));
        let text = match state {
            State::Ok => format!("{used} of {limit}"),
            _ => format!("PostgreSQL on {host} has {used} of {limit} connections in use"),
        };
        let who = "SELECT usename, client_addr, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC";
        vec![Finding::new(state, text).on(host).fix(format!("see who has them, {}", sql(host, who)))]
    })
}

/// Of the leader; replicas have what it has.
fn ages(case: &Case<'_>) -> Vec<Finding> {
    let (host, vitals) = match case.leader() {
        Ok(leader) => leader,
        Err(unknown) => return vec![unknown],
    };
    let ill: Vec<Finding> = [("transactions", &vitals.transactions), ("multixacts", &vitals.multixacts)]
        .into_iter()
        .filter_map(|(what, age)| aged(host, what, age))
        .collect();
    if !ill.is_empty() {
        return ill;
    }
    let millions = |age: &Age| age.age / 1_000_000;
    let text =
        format!("{} M transactions, {} M multixacts", millions(&vitals.transactions), millions(&vitals.multixacts));
    vec![Finding::ok(text).on(host)]
}

fn aged(host: &HostName, what: &str, Age { database, age }: &Age) -> Option<Finding> {
    let state = TRANSACTIONS.judge(*age as f64);
    let text = format!(
        "in the database {database} on {host} there are {} million {what} to freeze; at 2000 million nothing is written any more",
        age / 1_000_000
    );
    let vacuum = on(host, &format!("sudo -u postgres vacuumdb --freeze {}", crate::quote::sh(database)));
    let fix = format!("see what holds vacuum back (postgres-long-transactions, replication-slots), then {vacuum}");
    (state != State::Ok).then(|| Finding::new(state, text).on(host).fix(fix))
}

fn holding(case: &Case<'_>) -> Vec<Finding> {
    case.each_member(|host, vitals| {
        let ill: Vec<Finding> = vitals.holding.iter().filter_map(|one| held(host, one)).collect();
        if !ill.is_empty() {
            return ill;
        }
        let longest = vitals.holding.first().map(|one| format!("at most {:.0} min", one.seconds / 60.0));
        vec![Finding::ok(longest.unwrap_or_else(|| "none".to_owned())).on(host)]
    })
}

/// A dump of a large database takes hours; nobody means a prepared transaction to stay.
fn held(host: &HostName, one: &Holding) -> Option<Finding> {
    let (what, limits) = match one.kind {
        Hold::Session => ("a transaction", [HOUR, 12.0 * HOUR]),
        Hold::Prepared => ("the prepared transaction", [HOUR / 4.0, HOUR]),
    };
    let state = match one.seconds {
        seconds if seconds >= limits[1] => State::Warning,
        seconds if seconds >= limits[0] => State::Notice,
        _ => return None,
    };
    let hours = one.seconds / HOUR;
    let (text, statement) = match one.kind {
        Hold::Session => (
            format!("{what} of {} on {host} (pid {}) has been under way for {hours:.1} h", one.user, one.name),
            format!("SELECT pg_terminate_backend({})", one.name),
        ),
        Hold::Prepared => (
            format!("{what} {} of {} on {host} has been waiting for {hours:.1} h", one.name, one.user),
            format!("ROLLBACK PREPARED {}", crate::cluster::postgres::literal(&one.name)),
        ),
    };
    let fix = format!("no dead row is removed meanwhile; if nobody needs it, end it, {}", sql(host, &statement));
    Some(Finding::new(state, text).on(host).fix(fix))
}

fn checksums(case: &Case<'_>) -> Vec<Finding> {
    case.each_member(|host, vitals: &Vitals| {
        let finding = match (vitals.checksums.enabled, vitals.checksums.failures) {
            (_, 1..) => Finding::critical(format!(
                "PostgreSQL on {host} has read {} pages whose checksums are wrong",
                vitals.checksums.failures
            ))
            .fix(format!(
                "its disk or memory is broken: see its log: {}; copy what is on it elsewhere before anything else",
                logged(case, host, "checksum")
            )),
            (true, _) => Finding::ok("none"),
            (false, _) => Finding::notice(format!("PostgreSQL on {host} has no checksums, so damage is not noticed"))
                .fix("pg_checksums --enable makes them, while the member is stopped"),
        };
        vec![finding.on(host)]
    })
}
