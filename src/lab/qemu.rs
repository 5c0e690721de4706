//! A host that is a machine of its own instead of a container: with a kernel, a clock and a watchdog it shares with
//! nobody. It begins as any host does, as a directory; its disk is made from that, and the directory is left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{LabError, OnPath};
use super::machine::Machine;
use super::place::{entries, unmount_below};
use super::tool::{command, run};
use super::{keys, network};

/// Program and the Debian package that has it, besides those that every lab needs.
pub(super) const NEEDED: [(&str, &str); 2] = [("qemu-system-x86_64", "qemu-system-x86"), ("mke2fs", "e2fsprogs")];

/// What the image needs for it: a kernel, and what finds the disk.
pub(super) const PACKAGES: [&str; 2] = ["linux-image-cloud-amd64", "initramfs-tools"];

const MEMORY: &str = "1536";
/// What the disk can hold; it takes from this machine what is written to it.
const SIZE: &str = "12G";

impl Machine<'_> {
    /// Make the disk of what was laid out, which is not used any more then.
    pub(super) fn make_disk(&self) -> Result<(), LabError> {
        let root = self.root();
        for (part, name) in [("vmlinuz-", "kernel"), ("initrd.img-", "initrd")] {
            let boot = root.join("boot");
            let newest = entries(&boot)?.into_iter().filter(|entry| entry.starts_with(part)).max();
            let from = boot.join(newest.unwrap_or_else(|| part.to_owned()));
            fs::copy(&from, self.directory().join(name)).on("copy", from)?;
        }
        let mut mke2fs = command("mke2fs");
        mke2fs.args(["-q", "-t", "ext4", "-d"]).arg(&root).arg(self.disk()).arg(SIZE);
        run(&format!("make the disk of {}", self.host.name), &mut mke2fs)?;
        unmount_below(&root)
    }

    fn disk(&self) -> PathBuf {
        self.directory().join("disk.img")
    }

    pub(super) fn qemu(&self) -> Result<Command, LabError> {
        let cable = self.state.id.interface(self.host.number);
        network::plug(&cable, &self.state.id.bridge())?;
        let directory = self.directory();
        let mut qemu = command("qemu-system-x86_64");
        qemu.args([
            "-accel",
            accelerator(),
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            MEMORY,
            "-display",
            "none",
            "-serial",
            "stdio",
        ]);
        qemu.arg("-kernel").arg(directory.join("kernel")).arg("-initrd").arg(directory.join("initrd"));
        qemu.args(["-append", "root=/dev/vda rw console=ttyS0 quiet"]);
        // As with containers: what is synced may stay in this machine's memory.
        qemu.arg("-drive").arg(format!("file={},if=virtio,format=raw,cache=unsafe", self.disk().display()));
        qemu.arg("-netdev").arg(format!("tap,id=cable,ifname={cable},script=no,downscript=no"));
        qemu.arg("-device").arg(format!("virtio-net-pci,netdev=cable,mac={}", self.mac()));
        qemu.args(["-device", "virtio-rng-pci", "-device", "i6300esb"]);
        Ok(qemu)
    }

    /// Of the range anybody may use, and no other's on this machine.
    fn mac(&self) -> String {
        format!("52:54:00:{:02x}:{:02x}:{:02x}", self.state.subnet, self.host.number / 256, self.host.number % 256)
    }

    /// A machine that is told to end by a signal ends as if its plug were pulled, so it is asked from inside.
    pub(super) fn ask_to_shut_down(&self) -> Result<(), LabError> {
        let mut ssh = command("ssh");
        ssh.args(keys::ssh_options(self.lab)).args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]);
        ssh.arg(format!("root@{}", self.host.address)).arg("systemctl poweroff --no-block");
        run(&format!("shut {} down", self.host.name), &mut ssh).map(drop)
    }
}

/// A processor that runs machines says so. `/dev/kvm` alone does not mean much: it may open, and its machines stand still.
fn accelerator() -> &'static str {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let runs_machines = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    if runs_machines && Path::new("/dev/kvm").exists() { "kvm" } else { "tcg" }
}
