//! One host: its writable layer, what makes it this host and no other, and its power switch.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::mount::MountFlags;
use rustix::process::{Resource, Rlimit, Signal};

use super::cgroup::{Cgroup, Part};
use super::error::{LabError, OnPath};
use super::pool::Pool;
use super::state::{Kind, LabHost, State};
use super::tool::{command, feed};
use super::{keys, wait};
use crate::mirror::Mirror;

/// HAProxy with many connections and PostgreSQL want more open files than a login session usually hands on.
const OPEN_FILES: u64 = 524_288;

/// How long a host may take to shut down by itself: systemd's own limit for a stubborn service is 90 s.
const SHUTDOWN: Duration = Duration::from_secs(120);
/// How long the kernel may take to end what was killed.
const DEATH: Duration = Duration::from_secs(20);

/// How systemd-nspawn ends when the host inside wants to be started again (with --keep-unit).
const REBOOTED: u8 = 133;

/// A host of a lab, and where it is.
pub(super) struct Machine<'a> {
    pub state: &'a State,
    pub host: &'a LabHost,
    /// The lab's directory.
    pub lab: &'a Path,
}

/// What every host of a lab is given.
pub(super) struct Outfit<'a> {
    pub image: &'a Path,
    pub mirror: &'a Mirror,
    pub pool: &'a Pool,
    pub public_key: &'a str,
    pub operator_password: &'a str,
    pub resolv_conf: &'a str,
}

impl Machine<'_> {
    pub(super) fn directory(&self) -> PathBuf {
        self.lab.join("hosts").join(&self.host.name)
    }
    pub(super) fn root(&self) -> PathBuf {
        self.directory().join("root")
    }
    fn console(&self) -> PathBuf {
        self.directory().join("console.log")
    }
    fn cgroup(&self) -> Result<Cgroup, LabError> {
        Cgroup::named(&format!("{}{}", self.state.id.cgroup_prefix(), self.host.name))
    }
    /// What the host wrote to its console so far.
    pub fn console_text(&self) -> String {
        fs::read(self.console()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Lay out a host that has never run; the line of its public host key.
    pub fn make(&self, outfit: &Outfit) -> Result<String, LabError> {
        outfit.pool.seed(&self.directory().join("upper"))?;
        self.mount(outfit.image)?;
        let settings = format!("APT::Keep-Downloaded-Packages \"true\";\n{}", outfit.mirror.settings);
        let hosts =
            format!("127.0.0.1 localhost\n127.0.1.1 {}\n::1 localhost ip6-localhost ip6-loopback\n", self.host.name);
        self.put("etc/hostname", &format!("{}\n", self.host.name), 0o644)?;
        self.put("etc/hosts", &hosts, 0o644)?;
        self.put("etc/machine-id", &format!("{}\n", self.host.machine_id), 0o444)?;
        self.put("etc/resolv.conf", outfit.resolv_conf, 0o644)?;
        self.put("etc/systemd/network/10-lab.network", &self.network(), 0o644)?;
        self.put("etc/apt/sources.list.d/debian.sources", &outfit.mirror.sources(self.state.suite.codename()), 0o644)?;
        self.put("etc/apt/apt.conf.d/90lab", &settings, 0o644)?;
        self.copy_logins_for_the_mirror()?;
        self.users(outfit)?;
        let key =
            keys::make_pair(&self.root().join("etc/ssh/ssh_host_ed25519_key"), &format!("root@{}", self.host.name))?;
        if self.host.kind == Kind::Machine {
            self.make_disk()?;
        }
        Ok(key)
    }

    fn mount(&self, image: &Path) -> Result<(), LabError> {
        let directory = self.directory();
        for part in ["upper", "work", "root"] {
            fs::create_dir_all(directory.join(part)).on("make", directory.join(part))?;
        }
        // Volatile: what a host syncs may stay in this machine's memory. Hosts do not outlive the machine's own power, so
        // nothing is lost by it, and less time goes into waiting for the disk.
        let options = format!(
            "lowerdir={},upperdir={},workdir={},volatile",
            image.display(),
            directory.join("upper").display(),
            directory.join("work").display()
        );
        let options = std::ffi::CString::new(options).on("mount on", self.root())?;
        rustix::mount::mount("overlay", self.root(), "overlay", MountFlags::empty(), options.as_c_str())
            .map_err(|error| LabError::Overlay { path: self.root(), source: error.into() })
    }

    fn put(&self, path: &str, content: &str, mode: u32) -> Result<(), LabError> {
        let path = self.root().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).on("make", parent)?;
        }
        // Not through what is there: the image's own may be a symbolic link that leads out of the host.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).on("replace", &path),
            _ => {}
        }
        fs::write(&path, content).on("write", &path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).on("set the mode of", &path)
    }

    fn network(&self) -> String {
        format!(
            "[Match]\nName=host0 en* eth*\n\n[Network]\nAddress={}/24\nGateway={}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
            self.host.address,
            self.state.gateway()
        )
    }

    /// A mirror that asks for a password is asked with this machine's own.
    fn copy_logins_for_the_mirror(&self) -> Result<(), LabError> {
        let directory = Path::new("/etc/apt/auth.conf.d");
        for name in super::place::entries(directory)? {
            let source = directory.join(&name);
            let text = fs::read_to_string(&source).on("read", &source)?;
            self.put(&format!("etc/apt/auth.conf.d/{name}"), &text, 0o600)?;
        }
        Ok(())
    }

    /// Root and a sudo user with the lab's key; and one whose sudo asks for a password.
    fn users(&self, outfit: &Outfit) -> Result<(), LabError> {
        let root = self.root();
        let script = "set -e; read -r key; read -r password
            for home in root home/admin home/operator; do
                mkdir -p -m 0700 \"/$home/.ssh\"; printf '%s\\n' \"$key\" >\"/$home/.ssh/authorized_keys\"
            done
            chown -R admin: /home/admin/.ssh; chown -R operator: /home/operator/.ssh
            printf 'operator:%s\\n' \"$password\" | chpasswd";
        let mut chroot = command("chroot");
        chroot.arg(&root).args(["sh", "-c", script]);
        let input = format!("{}\n{}\n", outfit.public_key.trim_end(), outfit.operator_password);
        feed(&format!("set up the users of {}", self.host.name), &mut chroot, &input).map(drop)
    }

    /// Switch the power on. The process returned lives as long as the host runs.
    pub fn boot(&self) -> Result<Child, LabError> {
        let cgroup = self.cgroup()?;
        cgroup.create()?;
        raise_open_files()?;
        let console = self.console();
        let output = fs::File::options().create(true).append(true).open(&console).on("open", &console)?;
        let errors = output.try_clone().on("open", &console)?;
        let machine = match self.host.kind {
            Kind::Container => self.nspawn(),
            Kind::Machine => self.qemu()?,
        };
        let mut boot = inside(&cgroup, &machine);
        boot.stdin(Stdio::null()).stdout(output).stderr(errors);
        boot.spawn().on("boot", self.directory())
    }

    fn nspawn(&self) -> Command {
        let mut nspawn = command("systemd-nspawn");
        nspawn.args(["--quiet", "--boot", "--register=no", "--keep-unit"]);
        nspawn
            .args(["--console=pipe", "--resolv-conf=off", "--timezone=off", "--link-journal=no"])
            .arg("--directory")
            .arg(self.root());
        nspawn.arg(format!("--machine={}", self.state.id.machine(self.host.number)));
        nspawn.arg(format!("--hostname={}", self.host.name)).arg(format!("--uuid={}", self.host.machine_id));
        nspawn.arg(format!("--network-bridge={}", self.state.id.bridge()));
        nspawn
    }

    pub fn is_running(&self) -> Result<bool, LabError> {
        Ok(!self.cgroup()?.is_empty()?)
    }

    /// Pull the plug.
    pub fn power_off(&self) -> Result<(), LabError> {
        power_off(&self.cgroup()?, &self.host.name)
    }

    /// Shut down as `systemctl poweroff` does: systemd-nspawn hands the wish on (--kill-signal in systemd-nspawn(1)).
    pub fn shut_down(&self) -> Result<(), LabError> {
        let cgroup = self.cgroup()?;
        if cgroup.is_empty()? {
            return cgroup.remove();
        }
        let asked = match self.host.kind {
            Kind::Container => cgroup.signal(Part::Supervisor, Signal::TERM).map(drop),
            // whose answer may be cut off by what it asks for
            Kind::Machine => self.ask_to_shut_down(),
        };
        let help =
            format!("pull the plug: `xnat-provision lab fault {} kill --name {}`", self.host.name, self.state.name);
        let ended = wait_for_end(&cgroup, &self.host.name, Ending { what: "shut down", patience: SHUTDOWN, help });
        if ended.is_err() {
            asked?;
        }
        ended?;
        cgroup.remove()
    }
}

/// The session of its own keeps a Ctrl-C here from stopping hosts; the inner shell moves into the control group before
/// anything is started there. The outer one stays outside, and starts a host again that has restarted itself.
fn inside(cgroup: &Cgroup, machine: &Command) -> Command {
    let mut boot = command("setsid");
    let enter = "while [ \"$1\" != -- ]; do echo $$ >\"$1/cgroup.procs\" || exit; shift; done; shift; exec \"$@\"";
    let again = format!("while :; do sh -c \"$0\" sh \"$@\"; [ $? = {REBOOTED} ] || exit; done");
    boot.args(["sh", "-c", &again, enter]).args(cgroup.directories()).arg("--");
    boot.arg(machine.get_program()).args(machine.get_args());
    boot
}

/// Pull the plug of whatever host runs in a control group, and remove the group.
pub(super) fn power_off(cgroup: &Cgroup, host: &str) -> Result<(), LabError> {
    // Init's death takes everything in the host with it, and then systemd-nspawn ends by itself. The other way round,
    // the host would go on running without it.
    // A virtual machine has no init that is seen here: it is its supervisor.
    let init = cgroup.signal(Part::Init, Signal::KILL)?;
    let help = "try again: `xnat-provision lab down`".to_owned();
    let ending = |patience| Ending { what: "power off", patience, help: help.clone() };
    if init == 0 || wait_for_end(cgroup, host, ending(Duration::from_secs(5))).is_err() {
        // It was killed before it had an init, or it did not notice.
        for part in [Part::Supervisor, Part::Init, Part::Other] {
            cgroup.signal(part, Signal::KILL)?;
        }
        wait_for_end(cgroup, host, ending(DEATH))?;
    }
    cgroup.remove()
}

struct Ending {
    what: &'static str,
    patience: Duration,
    help: String,
}

fn wait_for_end(cgroup: &Cgroup, host: &str, ending: Ending) -> Result<(), LabError> {
    let ended = wait::until(ending.patience, || Ok(if cgroup.is_empty()? { Ok(()) } else { Err(String::new()) }))?;
    ended.map_err(|_| LabError::StillRunning {
        host: host.to_owned(),
        what: ending.what,
        seconds: ending.patience.as_secs(),
        help: ending.help,
    })
}

/// Hosts inherit this process' limits (systemd-nspawn's own `--rlimit` does not raise them). A machine that forbids
/// raising the hard limit gives its hosts all it has.
fn raise_open_files() -> Result<(), LabError> {
    let wanted = Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) };
    let now = rustix::process::getrlimit(Resource::Nofile);
    if now.maximum.is_some_and(|maximum| maximum < OPEN_FILES)
        && rustix::process::setrlimit(Resource::Nofile, wanted).is_err()
    {
        let all = Rlimit { current: now.maximum, maximum: now.maximum };
        return rustix::process::setrlimit(Resource::Nofile, all).on("raise the limit of open files of", "/proc/self");
    }
    Ok(())
}
