//! The root file system all hosts of a release share: built once with mmdebstrap, kept in the cache, never written to
//! again (hosts write to an overlay). It is built beside its place and renamed into it, so there is never half of one.
//! Hosts that have packages from the beginning have an image of their own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::Say;
use super::error::{LabError, OnPath};
use super::place::{Place, lock_file, remove_tree};
use super::state::Suite;
use super::tool::command;
use crate::mirror::Mirror;

/// What a bare host has, besides Debian's essential packages and apt.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,ca-certificates,locales";

/// Run before anything is downloaded: this machine's logins for its mirror. They do not stay in the image.
const SETUP: &str = r#"mkdir -p "$1"/etc/apt/auth.conf.d
for login in /etc/apt/auth.conf.d/*; do [ ! -f "$login" ] || cp "$login" "$1"/etc/apt/auth.conf.d/; done
"#;

/// Run in the finished tree (`$1`): users for both ways of becoming root, no identity, our network set-up.
const CUSTOMIZE: &str = r#"set -e
rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/machine-id "$1"/var/lib/dbus/machine-id "$1"/etc/apt/apt.conf.d/99mmdebstrap
rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/auth.conf.d/*
for user in admin operator; do chroot "$1" useradd --create-home --no-user-group --shell /bin/bash --password '*' "$user"; done
chroot "$1" usermod --append --groups sudo operator
echo 'admin ALL=(ALL:ALL) NOPASSWD: ALL' >"$1"/etc/sudoers.d/admin
chmod 0440 "$1"/etc/sudoers.d/admin
chroot "$1" systemctl --quiet enable systemd-networkd.service
ln -sf /usr/share/zoneinfo/Etc/UTC "$1"/etc/localtime
"#;

/// Run before anything is downloaded: a host that has PostgreSQL has no cluster of Debian's making.
const NO_CLUSTER: &str = r#"mkdir -p "$1"/etc/postgresql-common
echo 'create_main_cluster = false' >"$1"/etc/postgresql-common/createcluster.conf
"#;

/// Run in the finished tree (`$1`): services are there, and wait for somebody who wants them. What runs anyway stays.
const NOTHING_STARTS: &str = r#"set -e
for link in "$1"/etc/systemd/system/multi-user.target.wants/*.service; do
    unit=$(basename "$link")
    case $unit in ssh.service|systemd-*) ;; *) chroot "$1" systemctl --quiet disable "$unit" ;; esac
done
"#;

/// What an image is made of.
pub(super) struct Recipe<'a> {
    pub suite: Suite,
    pub mirror: &'a Mirror,
    /// What its hosts have besides what a bare host has.
    pub packages: &'a [String],
}

/// The image of a recipe, built when the cache has none.
pub(super) fn ensure(place: &Place, recipe: &Recipe, say: Say) -> Result<PathBuf, LabError> {
    let images = place.cache.join("images");
    fs::create_dir_all(&images).on("make", &images)?;
    let name = format!("{}-{}", recipe.suite.codename(), recipe.digest());
    let image = images.join(&name);
    let wait = || say(&format!("waiting for the image {name}, which another command is building"));
    let (_lock, file) = lock_file(&images.join(format!(".{name}.lock")), &wait)?;
    if image.is_dir() {
        return Ok(image);
    }
    say(&format!("building the image {name} (once; takes about half a minute)"));
    let part = images.join(format!(".{name}.part"));
    remove_tree(&part)?;
    if let Err(error) = recipe.build(&part, file) {
        remove_tree(&part)?;
        return Err(error);
    }
    fs::rename(&part, &image).on("put in place", &image)?;
    Ok(image)
}

impl Recipe<'_> {
    /// A changed recipe is another image.
    fn digest(&self) -> String {
        let mut digest = Sha256::new().chain_update(PACKAGES).chain_update(CUSTOMIZE);
        if !self.packages.is_empty() {
            digest = digest.chain_update(NO_CLUSTER).chain_update(NOTHING_STARTS).chain_update(self.packages.join(","));
        }
        digest.finalize().iter().take(5).map(|byte| format!("{byte:02x}")).collect()
    }

    fn build(&self, target: &Path, lock: File) -> Result<(), LabError> {
        let log = target.with_extension("log");
        let output = File::create(&log).on("write", &log)?;
        let errors = output.try_clone().on("write", &log)?;
        let mut mmdebstrap = self.mmdebstrap();
        mmdebstrap.arg(self.suite.codename()).arg(target);
        if self.packages.is_empty() {
            mmdebstrap.arg(&self.mirror.archive);
        } else {
            // The versions a host would install itself, updates included.
            mmdebstrap.args(self.mirror.lines("debian", self.suite.codename()));
        }
        // Standard input is the lock file: should this process be killed, the lock lasts as long as mmdebstrap goes on
        // writing, and nobody begins to build in the same place.
        mmdebstrap.stdin(Stdio::from(lock)).stdout(output).stderr(errors);
        let status = mmdebstrap.status().on("run mmdebstrap for", target)?;
        let printed = fs::read_to_string(&log).on("read", &log)?;
        fs::remove_file(&log).on("remove", &log)?;
        if status.success() {
            return Ok(());
        }
        let is_error = |line: &&str| line.starts_with("E:") || line.starts_with("Err:");
        Err(LabError::Image {
            suite: self.suite.codename(),
            mirror: self.mirror.archive.clone(),
            status: status.to_string(),
            errors: printed.lines().filter(is_error).collect::<Vec<_>>().join("\n"),
        })
    }

    fn mmdebstrap(&self) -> Command {
        let mut mmdebstrap = command("mmdebstrap");
        mmdebstrap.args(["--mode=root", "--format=directory", "--variant=minbase"]);
        mmdebstrap.arg(format!("--include={PACKAGES}")).arg(format!("--customize-hook={CUSTOMIZE}"));
        for line in self.mirror.settings.lines() {
            mmdebstrap.arg(format!("--aptopt={}", line.trim_end_matches(';')));
        }
        mmdebstrap.arg(format!("--setup-hook={SETUP}"));
        if !self.packages.is_empty() {
            mmdebstrap.arg(format!("--include={}", self.packages.join(",")));
            mmdebstrap.arg(format!("--setup-hook={NO_CLUSTER}")).arg(format!("--customize-hook={NOTHING_STARTS}"));
        }
        mmdebstrap
    }
}
