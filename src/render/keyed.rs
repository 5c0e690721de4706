//! Files of pods as Kubernetes keeps them: a ConfigMap and a Secret for each component, in which a file that is the same
//! for all pods is there once, and the list of what is mounted where.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::contents::{Container, directory};
use crate::digest::sha256;
use crate::resource::File;

/// What the pods of a component mount.
#[derive(Serialize)]
pub struct Mounted {
    pub plain: Keyed,
    pub secret: Keyed,
    /// Of all of it: pods are made anew when it changes.
    pub digest: String,
}

#[derive(Default, Serialize)]
pub struct Keyed {
    pub entries: Vec<Entry>,
    pub items: Vec<Item>,
}

/// A key of a ConfigMap or Secret.
#[derive(Serialize)]
pub struct Entry {
    pub key: String,
    pub content: String,
}

/// Where it is mounted. The first part of the path is the pod.
#[derive(Serialize)]
pub struct Item {
    pub key: String,
    pub path: String,
}

impl Mounted {
    pub fn of<'a>(containers: impl Iterator<Item = &'a Container<'a>>) -> Self {
        let containers: Vec<&Container<'_>> = containers.collect();
        let keyed = |secret: bool| Keyed::of(&containers, |file| file.secret == secret);
        let (plain, secret) = (keyed(false), keyed(true));
        let all: String = plain.entries.iter().chain(&secret.entries).map(Entry::told).collect();
        Self { plain, secret, digest: sha256(all) }
    }
}

impl Entry {
    /// No two lists of entries are told alike.
    fn told(&self) -> String {
        format!("{}\n{}\n", self.key, sha256(&self.content))
    }
}

impl Keyed {
    fn of(containers: &[&Container<'_>], wanted: impl Fn(&File) -> bool) -> Self {
        let mut by_path: BTreeMap<&str, Vec<(&Container<'_>, &File)>> = BTreeMap::new();
        for container in containers {
            for file in container.files.iter().filter(|file| wanted(file)) {
                by_path.entry(&file.path).or_default().push((container, file));
            }
        }
        let mut keyed = Self::default();
        for (path, files) in by_path {
            keyed.add(path, &files);
        }
        keyed
    }

    fn add(&mut self, path: &str, files: &[(&Container<'_>, &File)]) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let contents: BTreeSet<&str> = files.iter().map(|(_, file)| file.content.as_str()).collect();
        for (index, (container, file)) in files.iter().enumerate() {
            let pod = &container.host.name;
            let key = if contents.len() == 1 { name.to_owned() } else { format!("{pod}.{name}") };
            if contents.len() > 1 || index == 0 {
                self.entries.push(Entry { key: key.clone(), content: file.content.clone() });
            }
            let below = path.trim_start_matches(directory(container.component)).trim_start_matches('/');
            self.items.push(Item { key, path: format!("{pod}/{below}") });
        }
    }
}
