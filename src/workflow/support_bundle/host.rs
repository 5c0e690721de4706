//! What one host shows of itself: the files this program manages there, packages, units, the machine. One script; it reads
//! only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Bundle, MOST};
use crate::engine::shell::HISTORY;
use crate::names::HostName;
use crate::quote;
use crate::resource::Resource;
use crate::role::RoleResources;

/// Commands whose output says how a host is, by the name their output has in the archive.
const LOOKS: [(&str, &str); 4] = [
    ("packages.txt", "dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n'"),
    (
        "units.txt",
        "systemctl status --no-pager --full --lines=0 etcd patroni haproxy xnat-firewall; systemctl --failed --no-pager",
    ),
    ("machine.txt", "uname -a; uptime; df -hP; free -m; ip -brief address; ss -Hltnp"),
    ("firewall.txt", "command -v nft >/dev/null && nft list ruleset"),
];

/// A file on a host.
pub struct Managed {
    path: String,
    secret: bool,
}

/// The files of these roles, and those a site may have put beside them.
pub fn managed(roles: &[RoleResources]) -> Vec<Managed> {
    let file = |resource: &Resource| match resource {
        Resource::File(file) => Some(Managed { path: file.path.clone(), secret: file.secret }),
        Resource::Firewall(rules) => Some(Managed { path: rules.path.clone(), secret: false }),
        _ => None,
    };
    let history = Managed { path: HISTORY.to_owned(), secret: false };
    roles.iter().flat_map(|role| &role.resources).filter_map(file).chain([history]).collect()
}

/// Prints each of them as "item NAME" and base64, "withheld PATH WHAT" or "absent PATH". No secret file is read.
pub fn script(files: &[Managed]) -> String {
    let mut script = String::from("item() { printf 'item %s\\n' \"$1\"; base64; }\n");
    for Managed { path, secret } in files {
        let path = quote::sh(path);
        let found = match secret {
            true => format!("printf 'withheld %s %s\\n' {path} \"$(stat -c '%A %U:%G, %s bytes, of %y' {path})\""),
            false => format!("tail -c {MOST} {path} | item files{path}"),
        };
        script.push_str(&format!("if [ -e {path} ]; then {found}; else printf 'absent %s\\n' {path}; fi\n"));
    }
    script.push_str(
        "for file in /etc/systemd/system/etcd.service.d/*.conf /etc/systemd/system/patroni.service.d/zz-*.conf /etc/systemd/system/haproxy.service.d/zz-*.conf; do
    if [ -e \"$file\" ]; then item \"files$file\" <\"$file\"; fi
done\n",
    );
    for (name, command) in LOOKS {
        script.push_str(&format!("{{ {command}; }} 2>&1 | head -c {MOST} | item {name}\n"));
    }
    script
}

/// What the script printed.
pub fn add(bundle: &mut Bundle, host: &HostName, printed: &str) {
    let (mut item, mut body) = (None, String::new());
    for line in printed.lines().chain(["end "]) {
        let Some((word, rest)) = line.split_once(' ') else {
            body.push_str(line);
            continue;
        };
        if let Some(name) = item.take() {
            add_item(bundle, (host, name), &std::mem::take(&mut body));
        }
        match word {
            "item" => item = Some(rest),
            "withheld" => {
                let (path, what) = rest.split_once(' ').unwrap_or((rest, ""));
                bundle.miss(
                    &format!("{path} on {host}"),
                    &format!("it holds passwords or keys, and is withheld ({what})"),
                );
            }
            "absent" => bundle.miss(&format!("{rest} on {host}"), "it is not there"),
            _ => {}
        }
    }
}

fn add_item(bundle: &mut Bundle, (host, name): (&HostName, &str), body: &str) {
    let source = match name.strip_prefix("files") {
        Some(path) => format!("{path} on {host}"),
        None => {
            let command = LOOKS.iter().find(|(known, _)| *known == name).map_or("", |(_, command)| command);
            format!("on {host}: {command}")
        }
    };
    match STANDARD.decode(body) {
        Ok(bytes) => bundle.add(&format!("hosts/{host}/{name}"), &source, &String::from_utf8_lossy(&bytes)),
        Err(error) => bundle.miss(&source, &error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::report::Redactor;

    #[test]
    fn files_come_whole_and_secret_ones_not_at_all() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let open = Managed { path: file("it's open", "one\nitem two\n"), secret: false };
        let closed = Managed { path: file("closed", "PlantedSecret"), secret: true };
        let gone = Managed { path: directory.path().join("gone").display().to_string(), secret: false };
        let output = Command::new("sh").args(["-c", &script(&[open, closed, gone])]).output().expect("sh runs");
        let mut bundle = Bundle::new("xnat", &Redactor::default(), String::new());
        add(&mut bundle, &"db1".into(), &String::from_utf8_lossy(&output.stdout));
        let whole = bundle.files.iter().find(|(path, _)| path.ends_with("it's open")).expect("it is there");
        assert_eq!(whole.1, "one\nitem two\n");
        assert!(bundle.files.iter().all(|(_, text)| !text.contains("PlantedSecret")));
        let missing: Vec<&str> = bundle.manifest.missing.iter().map(|missing| missing.why.as_str()).collect();
        assert!(missing[0].starts_with("it holds passwords or keys, and is withheld (-rw"), "{missing:?}");
        assert_eq!(missing[1], "it is not there");
        assert!(bundle.files.iter().any(|(path, _)| path == "hosts/db1/machine.txt"));
    }
}
