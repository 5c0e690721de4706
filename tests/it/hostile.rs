//! Whatever comes in, from a person, a file or a host: it is carried through, or refused with a reason; nothing panics.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use xnat_provision::assets::Assets;
use xnat_provision::cluster::{ClusterView, assess, haproxy, table};
use xnat_provision::engine::shell;
use xnat_provision::facts::{self, Facts, preflight};
use xnat_provision::inventory::{Inventory, InventoryErrors};
use xnat_provision::pki::{self, issue::Issuing};
use xnat_provision::report::journal::Recording;
use xnat_provision::resource::{Probe, Resource, WantedContent};
use xnat_provision::role::{self, Input};
use xnat_provision::vault::Secrets;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).expect(name)
}

/// Texts that mean something to a shell, a template, YAML, TOML, SQL, HTML, a terminal, or a C program.
const EVIL: [&str; 27] = [
    "",
    " ",
    "'",
    "\"",
    "`touch /tmp/evil`",
    "$(touch /tmp/evil)",
    "; touch /tmp/evil #",
    "| cat",
    "a\nb",
    "a\r\nb",
    "\u{0}",
    "\u{1b}[2J\u{1b}]0;evil\u{7}",
    "-rf",
    "--help",
    "../../etc/passwd",
    "%s%n%d",
    "{{ 7 * 7 }}",
    "{% for x in range(10) %}x{% endfor %}",
    "{# comment",
    "\\",
    "\\n\\x00",
    "yes",
    "1e9",
    "null: &a [*a]",
    "\u{202e}gnp.exe",
    "e\u{301}\u{1f4a9}ß",
    "<script>alert(1)</script>",
];

fn evil() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(&EVIL[..]).prop_map(str::to_owned),
        2 => (select(&EVIL[..]), select(&EVIL[..])).prop_map(|(a, b)| format!("xnat{a}{b}")),
        2 => any::<String>(),
        1 => select(vec!["x", "'", "$", "\u{1f4a9}"]).prop_map(|one| one.repeat(65_536 / one.len())),
    ]
}

/// A text with something cut out, doubled, or put in, at places of chance.
fn mangled(text: &str) -> impl Strategy<Value = String> + use<> {
    let characters: Vec<char> = text.chars().collect();
    prop::collection::vec((any::<Index>(), 0usize..4, evil()), 1..4).prop_map(move |changes| {
        let mut characters = characters.clone();
        for (index, kind, text) in changes {
            let at = index.index(characters.len() + 1);
            let end = (at + 7).min(characters.len());
            match kind {
                0 => drop(characters.drain(at..end)),
                1 => characters.truncate(at),
                2 => drop(characters.splice(at..at, text.chars())),
                _ => drop(characters.splice(at..end, text.chars())),
            }
        }
        characters.into_iter().collect()
    })
}

fn load(text: &str) -> Result<Inventory, InventoryErrors> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("inventory.toml");
    std::fs::write(&path, text).expect("written");
    Inventory::load(&path, None).map(|loaded| loaded.inventory)
}

/// A refusal that helps: every problem has a code and says something; no control characters reach a terminal.
fn helpful(error: &InventoryErrors) {
    let InventoryErrors::Invalid(problems) = error else { return };
    assert!(!problems.all.is_empty());
    for problem in &problems.all {
        assert!(problem.code.starts_with("xnat::"), "{problem:?}");
        assert!(!problem.one_line().is_empty());
    }
}

static FACTS: LazyLock<Facts> =
    LazyLock::new(|| facts::parse(&read("tests/fixtures/facts/trixie-fresh.txt")).expect("recorded"));

/// Everything that follows from a good inventory can be made, or is refused with a reason.
fn expands(inventory: &Inventory) {
    let (secrets, assets) = (Secrets::placeholder(), Assets::default());
    for host in &inventory.hosts {
        let input = Input { inventory, host, facts: &FACTS, secrets: &secrets, assets: &assets };
        let Ok(roles) = role::expand(&input) else { continue };
        for resource in roles.iter().flat_map(|role| &role.resources) {
            if let Resource::File(file) = resource
                && file.path.ends_with(".yml")
            {
                let content = &file.content;
                serde_saphyr::from_str::<serde_json::Value>(content)
                    .unwrap_or_else(|error| panic!("{}: {error}\n{content}", file.path));
            }
        }
        preflight::check(inventory, host, &FACTS);
    }
}

/// Every text of a document, by its way through tables and lists.
fn texts(value: &mut toml::Value) -> Vec<&mut String> {
    match value {
        toml::Value::String(text) => vec![text],
        toml::Value::Array(all) => all.iter_mut().flat_map(texts).collect(),
        toml::Value::Table(table) => table.iter_mut().flat_map(|(_, value)| texts(value)).collect(),
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_evil_value_anywhere_in_an_inventory(which in any::<Index>(), text in evil()) {
        let mut document: toml::Value = toml::from_str(&read("inventory/example.toml")).expect("TOML");
        {
            let mut all = texts(&mut document);
            let at = which.index(all.len());
            all[at].clone_from(&text);
        }
        match load(&toml::to_string(&document).expect("TOML")) {
            Ok(inventory) => expands(&inventory),
            Err(error) => helpful(&error),
        }
    }

    #[test]
    fn an_inventory_that_was_damaged(text in mangled(&read("inventory/example.toml"))) {
        match load(&text) {
            Ok(inventory) => expands(&inventory),
            Err(error) => helpful(&error),
        }
    }

    #[test]
    fn an_inventory_that_is_anything(text in any::<String>()) {
        if let Err(error) = load(&text) {
            helpful(&error);
        }
    }

    #[test]
    fn a_role_or_template_that_was_damaged(
        role in mangled(&read("roles/base.toml")),
        template in mangled(&read("templates/haproxy/haproxy.cfg.j2")),
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in [("roles/base.toml", &role), ("templates/haproxy/haproxy.cfg.j2", &template)] {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        let assets = match Assets::new(Some(directory.path())) {
            Ok(assets) => assets,
            Err(error) => {
                prop_assert!(error.to_string().contains(" is too long, or one too many"), "{error}");
                return Ok(());
            }
        };
        let inventory = Inventory::load(&root().join("inventory/single.toml"), None).expect("good").inventory;
        let secrets = Secrets::placeholder();
        let input = Input { inventory: &inventory, host: &inventory.hosts[0], facts: &FACTS, secrets: &secrets, assets: &assets };
        if let Err(error) = role::expand(&input) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn facts_that_were_damaged(text in mangled(&read("tests/fixtures/facts/trixie-member.txt"))) {
        let Ok(facts) = facts::parse(&text) else { return Ok(()) };
        let inventory = Inventory::load(&root().join("inventory/single.toml"), None).expect("good").inventory;
        preflight::check(&inventory, &inventory.hosts[0], &facts);
    }

    #[test]
    fn answers_that_are_anything(lines in prop::collection::vec(("[SLHTPCGRWYUMK]", "\t?", evil()), 0..20)) {
        let text: String = lines.iter().map(|(letter, tab, rest)| format!("{letter}{tab}{rest}\n")).collect();
        let want = Some(WantedContent { sha256: "0".repeat(64), show: true });
        let probes = [
            Probe::Path { path: "/etc/hosts".to_owned(), want },
            Probe::Package { name: "etcd-server".to_owned() },
            Probe::Unit { name: "etcd.service".to_owned(), files: vec!["/etc/etcd/etcd.env".to_owned()], packages: Vec::new() },
            Probe::Sysctl { key: "vm.swappiness".to_owned() },
        ];
        if let Ok(observations) = shell::answers(&probes, &text) {
            prop_assert!(observations.get(&probes[0]).is_some());
        }
    }

    #[test]
    fn statistics_of_haproxy_that_were_damaged(text in mangled(STATISTICS)) {
        for server in haproxy::parse(&text).unwrap_or_default() {
            prop_assert!(server.section.len() <= text.len());
        }
    }

    #[test]
    fn a_cluster_that_answers_nonsense(text in mangled(&read("tests/fixtures/status/trixie-healthy.json")), width in 1u16..200) {
        let recorded: Result<serde_json::Value, _> = serde_json::from_str(&text);
        let view = recorded.ok().and_then(|recorded| serde_json::from_value::<ClusterView>(recorded).ok());
        let Some(view) = view else { return Ok(()) };
        let inventory = Inventory::load(&root().join("tests/fixtures/status/inventory.toml"), None).expect("good").inventory;
        let health = assess(&view, &inventory);
        let look = table::Look { width: Some(width), ..table::Look::default() };
        prop_assert!(!table::render(&view, &health, look).is_empty());
    }

    #[test]
    fn a_journal_that_was_damaged(text in mangled(&read("tests/fixtures/report/good.jsonl"))) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        if let Err(error) = Recording::read(file.path()) {
            prop_assert!(error.to_string().contains(&file.path().display().to_string()));
        }
    }

    #[test]
    fn a_certificate_that_was_damaged(text in mangled(&CERTIFICATE)) {
        let authority = pki::read::certificate(&CERTIFICATE, "the authority").expect("good");
        match pki::read::certificate(&text, "xnat.pem") {
            Ok(read) => _ = read.is_signed_by(&authority),
            Err(error) => prop_assert!(error.to_string().starts_with("xnat.pem is not a certificate")),
        }
    }
}

static CERTIFICATE: LazyLock<String> = LazyLock::new(|| {
    let issuing = Issuing { cluster: "xnat", days: 30, now: jiff::Timestamp::now() };
    issuing.authority().expect("made").certificate
});

const STATISTICS: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,
primary,FRONTEND,,,0,0,1000,0,0,0,0,0,0,,,,,OPEN,,,,,,,,,1,2,0,,,,0,0,0,0,,,,
primary,db1,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,1,0,0,0,11,0,,1,4,1,,0,,2,0,,0,L7OK,200,2,
primary,db2,0,0,0,0,,0,0,0,,0,,0,0,0,0,DOWN,1,1,0,1,1,10,10,,1,4,2,,0,,2,0,,0,* L7STS,503,3,
";

/// What a person has to see: a text with control characters never reaches the terminal as it is.
#[test]
fn an_error_about_an_evil_name_cannot_steer_the_terminal() {
    let text = read("inventory/minimal.toml").replacen("name = \"db1\"", "name = \"\\u001b[2Jdb1\"", 1);
    let error = load(&text).expect_err("refused");
    helpful(&error);
    let InventoryErrors::Invalid(problems) = error else { panic!("{error}") };
    let shown = format!("{:?}", miette::Report::new(problems));
    assert!(!shown.contains("\u{1b}[2J"), "{shown:?}");
}

#[test]
fn a_device_is_no_inventory() {
    let error = Inventory::load(Path::new("/dev/zero"), None).expect_err("refused");
    assert!(matches!(error, InventoryErrors::Unreadable { .. }), "{error}");
}

/// Found by the test above: the template engine counts columns and lines in 16 bits.
#[test]
fn a_line_without_an_end_is_no_template() {
    for (text, line) in [(format!("a\n{}", "x".repeat(70_000)), 2), ("x\n".repeat(70_000), 65_001)] {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("templates")).expect("made");
        std::fs::write(directory.path().join("templates/x.j2"), text).expect("written");
        let error = Assets::new(Some(directory.path())).expect_err("refused").to_string();
        assert!(error.starts_with(&format!("line {line} of ")), "{error}");
    }
}
