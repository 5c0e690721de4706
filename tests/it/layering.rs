//! The arrows between modules point one way. Reads the sources; knows nothing else of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which modules each may use, besides the leaves.
const ALLOWED: &[(&str, &[&str])] = &[
    ("names", &[]),
    ("secret", &[]),
    ("error", &[]),
    ("approval", &[]),
    ("files", &[]),
    ("digest", &[]),
    ("quote", &[]),
    ("report", &[]),
    ("inventory", &[]),
    ("pki", &["inventory"]),
    ("vault", &["inventory", "pki"]),
    ("mirror", &[]),
    ("version", &[]),
    ("bundle", &["facts", "inventory", "resource"]),
    ("facts", &["inventory"]),
    ("transport", &["inventory"]),
    ("resource", &[]),
    ("plan", &["resource"]),
    ("assets", &[]),
    ("role", &["assets", "facts", "inventory", "pki", "resource", "vault"]),
    ("cluster", &["inventory", "pki", "transport", "vault"]),
    ("screen", &["cluster"]),
    ("doctor", &["cluster", "facts", "inventory", "pki"]),
    ("health", &["cluster", "facts", "inventory"]),
    ("drill", &["inventory"]),
    ("adopt", &["cluster", "facts", "inventory", "pki", "role"]),
    ("render", &["assets", "cluster", "facts", "inventory", "resource", "role", "vault"]),
    ("migrate", &[]),
    ("engine", &["bundle", "facts", "inventory", "plan", "resource", "transport"]),
    (
        "workflow",
        &[
            "adopt",
            "assets",
            "bundle",
            "cluster",
            "doctor",
            "drill",
            "engine",
            "facts",
            "health",
            "inventory",
            "migrate",
            "pki",
            "plan",
            "resource",
            "role",
            "transport",
            "vault",
        ],
    ),
    ("lab", &["inventory", "vault"]),
    (
        "cli",
        &[
            "adopt",
            "assets",
            "bundle",
            "cluster",
            "doctor",
            "drill",
            "engine",
            "facts",
            "health",
            "inventory",
            "lab",
            "migrate",
            "pki",
            "plan",
            "render",
            "resource",
            "role",
            "screen",
            "transport",
            "vault",
            "workflow",
        ],
    ),
];

/// Anyone may use these.
const LEAVES: &[&str] =
    &["names", "secret", "error", "approval", "files", "digest", "quote", "report", "mirror", "version"];

/// No network, no runtime.
const PURE: &[&str] = &[
    "inventory",
    "facts",
    "doctor",
    "health",
    "drill",
    "migrate",
    "adopt",
    "resource",
    "plan",
    "role",
    "render",
    "screen",
    "names",
    "secret",
    "error",
    "approval",
    "digest",
    "quote",
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("src is readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Module → its sources, without comments.
fn modules() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut modules: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    for path in files {
        let relative = path.strip_prefix(&src).expect("below src").to_owned();
        let first = relative.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
        let module = first.trim_end_matches(".rs").to_owned();
        let text = std::fs::read_to_string(&path).expect("readable");
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        modules.entry(module).or_default().push((relative, code.join("\n")));
    }
    modules
}

/// The modules named after `crate::`, also in braces.
fn used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let names: String = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default().to_owned(),
            None => rest.to_owned(),
        };
        let words = if rest.starts_with('{') { names.split(',').collect::<Vec<_>>() } else { vec![names.as_str()] };
        for word in words {
            used.insert(word.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    used
}

#[test]
fn every_module_only_uses_what_is_below_it() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (module, files) in modules() {
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        let below = allowed.get(module.as_str()).unwrap_or_else(|| panic!("say in ALLOWED what {module} may use"));
        for (path, code) in files {
            let over = used(&code)
                .into_iter()
                .filter(|name| *name != module && !below.contains(&name.as_str()) && !LEAVES.contains(&name.as_str()));
            wrong.extend(over.map(|name| format!("{}: uses {name}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_modules_know_neither_runtime_nor_network() {
    let mut wrong = Vec::new();
    for (module, files) in modules().into_iter().filter(|(module, _)| PURE.contains(&module.as_str())) {
        for (path, code) in files {
            let words = ["tokio", "async fn", "russh", "hyper"].into_iter().filter(|word| code.contains(word));
            wrong.extend(words.map(|word| format!("{module} is pure and {} says {word}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whoever makes one has just looked at the whole cluster.
#[test]
fn members_may_only_be_restarted_by_who_looks_at_all_of_them() {
    let makes =
        |(path, code): &(PathBuf, String)| code.contains("Permit::seen_to_be_safe").then(|| path.display().to_string());
    let places: Vec<String> = modules().values().flatten().filter_map(makes).collect();
    assert_eq!(places, ["workflow/apply/rolling.rs"]);
}

/// Dry-run safety rests on this: a plan cannot be approved anywhere else.
#[test]
fn approvals_are_made_in_one_place() {
    let makes = |(path, code): &(PathBuf, String)| {
        (code.contains("Approved::by_operator") && !path.ends_with("approval.rs")).then(|| path.display().to_string())
    };
    let places: Vec<String> = modules().values().flatten().filter_map(makes).collect();
    assert_eq!(places, ["cli/confirm.rs"]);
}

/// An approval ends with the locks it was given under, so it is asked and not only carried.
#[test]
fn approvals_are_not_ignored() {
    let ignores =
        |(path, code): &(PathBuf, String)| code.contains("_approved: &Approved").then(|| path.display().to_string());
    let places: Vec<String> = modules().values().flatten().filter_map(ignores).collect();
    assert!(places.is_empty(), "ask `approved.still_holds()` before the change: {}", places.join(", "));
}

/// The C library's look-ups of names and users load modules at run time, which a static program has not.
#[test]
fn names_and_homes_are_looked_up_in_one_place_each() {
    let words = ["lookup_host", "to_socket_addrs", "ToSocketAddrs", "TcpStream::connect((", "home_dir()"];
    let mut wrong = Vec::new();
    for (path, code) in modules().into_values().flatten() {
        let found = words.into_iter().filter(|word| code.contains(word));
        wrong.extend(found.map(|word| format!("{}: {word}", path.display())));
    }
    assert!(wrong.is_empty(), "use transport::resolve and files::home: {}", wrong.join(", "));
}

#[test]
fn files_stay_small_enough_to_read() {
    let long = |(path, _): &(PathBuf, String)| {
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path)).expect("readable");
        let lines = text.lines().count();
        (lines > 600).then(|| format!("{}: {lines} lines", path.display()))
    };
    let over: Vec<String> = modules().values().flatten().filter_map(long).collect();
    assert!(over.is_empty(), "split by noun: {}", over.join(", "));
}
