//! Debian's control files: the index of packages in a bundle, and what dpkg says of a host.

use deb822_fast::{Deb822, Paragraph};

/// Fields of an installed package that say what it needs, gives and stands against; nothing else leaves a site. (By the
/// size, among others, apt tells two builds of one version apart.)
const INSTALLED: [&str; 17] = [
    "Package",
    "Status",
    "Priority",
    "Essential",
    "Protected",
    "Section",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Version",
    "Installed-Size",
    "Provides",
    "Pre-Depends",
    "Depends",
    "Conflicts",
    "Breaks",
    "Replaces",
];
/// Fields of an index that are for people, or lead to where it was fetched from.
const LEFT_OUT: [&str; 9] = [
    "Description",
    "Description-md5",
    "Homepage",
    "Tag",
    "MD5sum",
    "SHA1",
    "Static-Built-Using",
    "Built-Using",
    "Filename",
];

/// A stanza of an index, with what has to be known about it.
#[derive(Clone, Debug)]
pub struct Stanza(Paragraph);

pub fn parse(text: &str) -> Result<Vec<Stanza>, String> {
    let parsed: Deb822 = text.parse().map_err(|error: deb822_fast::Error| error.to_string())?;
    Ok(parsed.iter().cloned().map(Stanza).collect())
}

impl Stanza {
    pub fn get(&self, field: &str) -> &str {
        self.0.get(field).unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.get("Package")
    }

    pub fn version(&self) -> &str {
        self.get("Version")
    }

    pub fn arch(&self) -> &str {
        self.get("Architecture")
    }

    /// Name and version of the source package; written only where they are others.
    pub fn source(&self) -> (&str, &str) {
        match self.get("Source").split_once(' ') {
            Some((name, version)) => (name, version.trim_matches(['(', ')'])),
            None if self.get("Source").is_empty() => (self.name(), self.version()),
            None => (self.get("Source"), self.version()),
        }
    }

    pub fn is_installed(&self) -> bool {
        self.get("Status").ends_with(" installed")
    }

    /// Space it takes on a host, in KiB.
    pub fn installed_kib(&self) -> u64 {
        self.get("Installed-Size").parse().unwrap_or(0)
    }

    pub fn sha256(&self) -> &str {
        self.get("SHA256")
    }

    pub fn size(&self) -> u64 {
        self.get("Size").parse().unwrap_or(0)
    }

    pub fn set(&mut self, field: &str, value: &str) {
        self.0.set(field, value);
    }

    /// For the list of what a host has.
    pub fn of_host(&self) -> String {
        let lines = INSTALLED.iter().filter_map(|field| Some(format!("{field}: {}\n", one_line(self.0.get(field)?))));
        lines.collect()
    }

    /// For the index in a bundle: found by its digest, wherever that is.
    pub fn of_bundle(&self) -> String {
        let fields = self.0.iter().filter(|(name, _)| !LEFT_OUT.contains(name));
        let mut text: String = fields.map(|(name, value)| format!("{name}: {}\n", one_line(value))).collect();
        text.push_str(&format!("Filename: {}.deb\nDescription: {}\n", self.sha256(), self.name()));
        text
    }
}

fn one_line(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Package: libpq5\nStatus: install ok installed\nSource: postgresql-17 (17.6-1)\nVersion: 17.6-1+b1\n\
        Architecture: amd64\nDepends: libc6 (>= 2.38),\n libssl3t64\nSHA256: aa\nFilename: pool/x.deb\nDescription: a\n library\n\n\
        Package: tzdata\nVersion: 2025b\nArchitecture: all\n";

    #[test]
    fn what_a_bundle_and_what_a_site_says_of_a_package() {
        let stanzas = parse(TEXT).expect("read");
        assert_eq!(stanzas[0].source(), ("postgresql-17", "17.6-1"));
        assert_eq!(stanzas[1].source(), ("tzdata", "2025b"));
        assert!(stanzas[0].is_installed() && !stanzas[1].is_installed());
        insta::assert_snapshot!(stanzas[0].of_bundle(), @r"
        Package: libpq5
        Status: install ok installed
        Source: postgresql-17 (17.6-1)
        Version: 17.6-1+b1
        Architecture: amd64
        Depends: libc6 (>= 2.38), libssl3t64
        SHA256: aa
        Filename: aa.deb
        Description: libpq5
        ");
        insta::assert_snapshot!(stanzas[0].of_host(), @r"
        Package: libpq5
        Status: install ok installed
        Architecture: amd64
        Source: postgresql-17 (17.6-1)
        Version: 17.6-1+b1
        Depends: libc6 (>= 2.38), libssl3t64
        ");
    }
}
