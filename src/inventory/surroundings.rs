//! The files an inventory names, looked at once, so that everything after this is a pure function.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::raw;

/// What was found on this machine.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// The directory of the inventory, to which its paths are relative.
    pub base: PathBuf,
    pub home: Option<PathBuf>,
    pub assets: Option<PathBuf>,
    /// Names of the roles in the assets directory.
    pub own_roles: BTreeSet<String>,
    /// Where the inventory names a file or directory that cannot be read → why.
    pub unreadable: BTreeMap<String, String>,
    /// Text of `packages.repository[i].key_file`.
    pub keys: BTreeMap<usize, String>,
}

impl Surroundings {
    /// `assets` is the command line's, which wins over the file's.
    pub fn look(raw: &raw::Inventory, path: &Path, assets: Option<&Path>) -> Self {
        let base = path.parent().map(Path::to_owned).unwrap_or_default();
        let home = crate::files::home();
        let mut seen = Self { base, home, ..Self::default() };
        seen.look_at_assets(raw, assets);
        seen.look_at_ssh_files(raw);
        seen.look_at_certificates(raw);
        seen.look_at_bundles(raw);
        for (index, repository) in raw.packages.repository.iter().enumerate() {
            if repository.key_file.is_empty() {
                continue;
            }
            match crate::files::read_text(&seen.resolve(&repository.key_file)) {
                Ok(text) => drop(seen.keys.insert(index, text)),
                Err(error) => seen.complain(format!("packages.repository[{index}].key_file"), &error),
            }
        }
        seen
    }

    /// `~/x` is in the home directory, `x` beside the inventory.
    pub fn resolve(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.base.join(path),
        }
    }

    fn look_at_assets(&mut self, raw: &raw::Inventory, given: Option<&Path>) {
        self.assets = given.map(Path::to_owned).or_else(|| raw.assets.as_ref().map(|assets| self.resolve(assets)));
        let Some(directory) = self.assets.clone() else { return };
        if let Err(error) = std::fs::read_dir(&directory) {
            return self.complain("assets".into(), &error);
        }
        // No `roles` in it is fine: it may hold templates only.
        let files = std::fs::read_dir(directory.join("roles")).into_iter().flatten().flatten();
        self.own_roles =
            files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".toml")?.to_owned())).collect();
    }

    fn look_at_ssh_files(&mut self, raw: &raw::Inventory) {
        let common = raw.ssh.identity.0.iter().map(|file| ("ssh.identity".to_owned(), file));
        let known_hosts = raw.ssh.known_hosts.iter().map(|file| ("ssh.known_hosts".to_owned(), file));
        let own = raw.host.iter().enumerate().flat_map(|(index, host)| {
            let files = host.ssh.identity.iter().flat_map(|files| &files.0);
            files.map(move |file| (format!("host[{index}].ssh.identity"), file))
        });
        let named: Vec<(String, &String)> = common.chain(known_hosts).chain(own).collect();
        for (place, file) in named {
            if let Err(error) = std::fs::File::open(self.resolve(file)) {
                self.complain(place, &error);
            }
        }
    }

    /// Only whether they are there: what is in them is read where certificates are understood.
    fn look_at_certificates(&mut self, raw: &raw::Inventory) {
        let files = [("tls.ca_certificate", &raw.tls.ca_certificate), ("tls.ca_key", &raw.tls.ca_key)];
        for (place, file) in files.into_iter().filter_map(|(place, file)| Some((place, file.as_ref()?))) {
            if let Err(error) = std::fs::File::open(self.resolve(file)) {
                self.complain(place.to_owned(), &error);
            }
        }
        if let Some(Err(error)) =
            raw.tls.certificates.as_ref().map(|directory| std::fs::read_dir(self.resolve(directory)))
        {
            self.complain("tls.certificates".to_owned(), &error);
        }
    }

    /// Only whether they are there: they are checked when they are used.
    fn look_at_bundles(&mut self, raw: &raw::Inventory) {
        let bundles = raw.packages.bundle.0.iter().map(|file| ("packages.bundle", file));
        for (place, file) in bundles.chain(raw.packages.bundle_key.iter().map(|file| ("packages.bundle_key", file))) {
            if let Err(error) = std::fs::File::open(self.resolve(file)) {
                self.complain(place.to_owned(), &error);
            }
        }
    }

    fn complain(&mut self, place: String, error: &std::io::Error) {
        self.unreadable.insert(place, error.to_string());
    }
}
