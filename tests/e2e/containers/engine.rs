//! As much of a container engine as it takes to start what `render` writes: namespaces, a read-only root, mounts, a network
//! with names, and nothing else. Everything ends with the test, however that ends.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/containers");
const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/image");
/// The switch all are plugged into: a network for documentation, which leads nowhere.
const NETWORK: &str = "192.0.2";
const SWITCH: &str = "192.0.2.254";

/// What is to be started.
#[derive(Clone, Debug, Default)]
pub struct Container {
    pub name: String,
    /// By which others find it.
    pub names: Vec<String>,
    /// Where it looks for names, as resolv.conf has it.
    pub search: String,
    /// After the image's entry point.
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    /// Who its first process is, and of which group.
    pub user: u32,
    /// What is left to root, as setpriv has it.
    pub capabilities: String,
    pub mounts: Vec<Mount>,
    /// How it is asked whether it is well.
    pub check: Vec<String>,
}

#[derive(Clone, Debug)]
pub enum Mount {
    Bind { source: PathBuf, target: String },
    Tmpfs { options: String, target: String },
}

struct Running {
    container: Container,
    outer: Child,
    address: String,
}

pub struct Engine {
    pub directory: tempfile::TempDir,
    switch: Child,
    names: Option<Child>,
    running: BTreeMap<String, Running>,
    addresses: u8,
}

/// The root file system of all containers.
pub fn image() -> &'static Path {
    let image = Path::new(IMAGE);
    assert!(image.join("etc/debian_version").exists(), "there is no image; `make image` makes one");
    image
}

/// Ends with the thread that starts it, whatever becomes of that.
fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

impl Engine {
    /// With what the image copies besides its packages: the directory the Dockerfile is in.
    pub fn start(build: &Path) -> Self {
        image();
        let directory = tempfile::tempdir().expect("a directory");
        // With an address of its own: it would take that of a plug otherwise, another one with each, and be lost to others.
        let mut switch = bound("unshare")
            .args(["--net", "sh", "-euc"])
            .arg(format!(
                "ip link add switch address 02:00:00:00:00:01 type bridge; ip address add {SWITCH}/24 dev switch; ip link set switch up; \
                 ip link set lo up; echo up; exec cat"
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        wait_for_up(&mut switch);
        let mut engine = Self { directory, switch, names: None, running: BTreeMap::new(), addresses: 0 };
        engine.copy(build);
        engine.know();
        let names = engine.inside(&["python3", &format!("{HERE}/names.py"), SWITCH]);
        engine.names = Some(bound_to(names).arg(engine.path("names")).spawn().expect("the name server starts"));
        engine
    }

    /// What the Dockerfile copies, at its place.
    fn copy(&self, build: &Path) {
        let copied = self.path("copied");
        let shell = "mkdir -p \"$2/usr/local/bin\" && cp -R \"$1/files/.\" \"$2/\" && cp \"$1/enter\" \"$2/usr/local/bin/enter\"";
        let done = Command::new("sh").args(["-c", shell, "sh"]).args([build, &copied]).status().expect("sh runs");
        assert!(done.success(), "the image's files could not be copied");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command in the switch's network.
    fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.switch.id().to_string()]).args(words);
        command
    }

    fn know(&self) {
        let lines = self.running.values().map(|one| format!("{} {}\n", one.address, one.container.names.join(" ")));
        let (new, place) = (self.path("names.new"), self.path("names"));
        fs::write(&new, lines.collect::<String>()).expect("written");
        fs::rename(new, place).expect("in place");
    }

    /// Start one, with an address nobody had before.
    pub fn run(&mut self, container: Container) {
        let home = self.path(&format!("containers/{}", container.name));
        let (root, layer, mounts) = (home.join("root"), home.join("layer"), home.join("mounts"));
        fs::create_dir_all(&root).expect("made");
        fs::create_dir_all(layer.join("etc")).expect("made");
        fs::write(layer.join("etc/resolv.conf"), format!("nameserver {SWITCH}\n{}", container.search))
            .expect("written");
        fs::write(layer.join("etc/hosts"), "127.0.0.1 localhost\n").expect("written");
        fs::write(&mounts, container.mounts.iter().map(|mount| mount.line(&layer)).collect::<String>())
            .expect("written");
        let log = File::options().create(true).append(true).open(self.log(&container.name)).expect("a log");
        let layers = [&layer, &self.path("copied"), Path::new(IMAGE)].map(|path| path.display().to_string()).join(":");
        let mut command = bound("unshare");
        command.args(["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL", "sh"]);
        command.arg(format!("{HERE}/start.sh")).args([&root]).arg(layers).arg(&mounts);
        command.args(container.within()).args(["/bin/sh", "/usr/local/bin/enter"]).args(&container.command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log.try_clone().expect("a log"));
        let mut outer = command.spawn().expect("unshare starts");
        let rest = wait_for_up(&mut outer);
        std::thread::spawn(move || std::io::copy(&mut { rest }, &mut { log }));
        let address = self.plug(&outer);
        outer.stdin.take().expect("a pipe").write_all(b"go\n").expect("it reads");
        self.running.insert(container.name.clone(), Running { container, outer, address });
        self.know();
    }

    fn plug(&mut self, outer: &Child) -> String {
        self.addresses += 1;
        let (number, process) = (self.addresses, outer.id().to_string());
        let address = format!("{NETWORK}.{number}");
        let script = format!(
            "ip link add v{number} type veth peer name eth0 netns {process}; ip link set v{number} master switch up; \
             nsenter --net --target {process} sh -euc 'ip link set lo up; ip address add {address}/24 dev eth0; ip link set eth0 up'"
        );
        let done = self.inside(&["sh", "-euc", &script]).status().expect("nsenter runs");
        assert!(done.success(), "the network could not be plugged in");
        address
    }

    fn log(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.log"))
    }

    /// What it has printed, and those before it of the same name.
    pub fn logged(&self, name: &str) -> String {
        fs::read_to_string(self.log(name)).unwrap_or_default()
    }

    /// Run a command in a container, as root of it.
    pub fn exec(&self, name: &str, words: &[&str], environment: &[(&str, &str)]) -> Output {
        let running = self.running.get(name).unwrap_or_else(|| panic!("{name} does not run"));
        let mut command = Command::new("nsenter");
        let first = running.first().map_or_else(|| "0".to_owned(), |process| process.to_string());
        command.args(["--net", "--mount", "--pid", "--uts", "--root", "--wd=/", "--target", &first]).args(words);
        command.env_clear().env("PATH", PATH).envs(&running.container.environment);
        command.envs(environment.iter().copied()).stdin(Stdio::null());
        command.output().expect("nsenter runs")
    }

    pub fn runs(&self, name: &str) -> bool {
        self.running.contains_key(name)
    }

    /// Where pods find Kubernetes.
    pub fn variables_of_kubernetes(&self) -> BTreeMap<String, String> {
        let all = [("KUBERNETES_SERVICE_HOST", SWITCH), ("KUBERNETES_SERVICE_PORT", "443")];
        all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Kubernetes' interface, for pods with what is in `account`. It keeps their labels beside that.
    pub fn kubernetes(&self, account: &Path, labels: &BTreeMap<&str, &serde_json::Value>) -> Child {
        fs::create_dir_all(account).expect("made");
        let made = rcgen::generate_simple_self_signed([SWITCH.to_owned()]).expect("a certificate");
        let pair = account.with_file_name("api.pem");
        fs::write(&pair, made.cert.pem() + &made.signing_key.serialize_pem()).expect("written");
        fs::write(account.join("ca.crt"), made.cert.pem()).expect("written");
        fs::write(account.join("token"), "a-token").expect("written");
        let kept = account.with_file_name("labels.json");
        fs::write(&kept, serde_json::to_string(labels).expect("JSON")).expect("written");
        let api = self.inside(&["python3", &format!("{HERE}/api.py"), SWITCH]);
        bound_to(api).arg(pair).arg("a-token").arg(kept).spawn().expect("it starts")
    }

    /// Is it well, by its own check?
    pub fn is_healthy(&self, name: &str) -> bool {
        let words: Vec<&str> = self.running[name].container.check.iter().map(String::as_str).collect();
        self.exec(name, &words, &[]).status.success()
    }

    /// Ask it to end, and say how it did.
    pub fn stop(&mut self, name: &str, within: Duration) -> Option<i32> {
        let mut running = self.running.remove(name).unwrap_or_else(|| panic!("{name} does not run"));
        let first = running.first().expect("it runs").to_string();
        let told = Command::new("kill").args(["-TERM", &first]).status().expect("kill runs");
        assert!(told.success(), "{name} cannot be signalled");
        let mut status = None;
        self.until(within, &format!("{name} ends"), || {
            status = running.outer.try_wait().expect("its parent is asked");
            status.is_some()
        });
        self.know();
        status.and_then(|status| status.code())
    }

    /// Until all say that they are well.
    #[track_caller]
    pub fn wait_until_healthy(&self, within: Duration) {
        self.until(within, "all are well", || self.running.keys().all(|name| self.is_healthy(name)));
    }

    /// Until it holds; what all have printed otherwise.
    #[track_caller]
    pub fn until(&self, within: Duration, what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + within;
        while !holds() {
            assert!(Instant::now() < end, "not within {within:?}: {what}\n{}", self.tails());
            pause();
        }
    }

    fn tails(&self) -> String {
        let tail = |name: &String| {
            let text = self.logged(name);
            let lines: Vec<&str> = text.lines().collect();
            format!("--- {name}\n{}\n", lines[lines.len().saturating_sub(30)..].join("\n"))
        };
        self.running.keys().map(tail).collect()
    }
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Container {
    /// What its first process is started with.
    fn within(&self) -> Vec<String> {
        let mut words = ["/usr/bin/env", "-i"].map(str::to_owned).to_vec();
        words.push(format!("PATH={PATH}"));
        words.push(format!("HOSTNAME={}", self.name));
        if self.user == 0 {
            words.push("HOME=/root".to_owned());
        }
        words.extend(self.environment.iter().map(|(name, value)| format!("{name}={value}")));
        words.extend(["/usr/bin/setpriv", "--no-new-privs"].map(str::to_owned));
        words.push(format!("--bounding-set={}", self.capabilities));
        if self.user != 0 {
            words.extend([format!("--reuid={}", self.user), format!("--regid={}", self.user)]);
            words.push("--clear-groups".to_owned());
        }
        words
    }
}

impl Mount {
    /// For the script; the place is made as an engine would.
    fn line(&self, layer: &Path) -> String {
        let (text, target) = match self {
            Self::Bind { source, target } => (format!("bind {} {target}\n", source.display()), target),
            Self::Tmpfs { options, target } => (format!("tmpfs {options} {target}\n"), target),
        };
        fs::create_dir_all(layer.join(target.trim_start_matches('/'))).expect("made");
        text
    }
}

impl Running {
    /// Its first process, by the machine's numbers.
    fn first(&self) -> Option<u32> {
        let outer = self.outer.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Engine {
    /// Containers first, and to their end: what still runs would write into the directory while it is removed.
    fn drop(&mut self) {
        for running in self.running.values_mut() {
            let first = running.first().map(|process| process.to_string());
            let ended = first.and_then(|first| Command::new("kill").args(["-KILL", &first]).status().ok());
            if !ended.is_some_and(|ended| ended.success()) {
                // one that has ended already cannot be killed
                let _ = running.outer.kill();
            }
            let _ = running.outer.wait();
        }
        for child in self.names.iter_mut().chain([&mut self.switch]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn bound_to(inner: Command) -> Command {
    let mut command = bound(&inner.get_program().to_string_lossy());
    command.args(inner.get_args());
    command
}

/// Its first line; the rest is for whoever wants it.
fn wait_for_up(child: &mut Child) -> BufReader<std::process::ChildStdout> {
    let mut printed = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    printed.read_line(&mut line).expect("it prints");
    assert_eq!(line, "up\n", "namespaces cannot be made on this machine: is this root?");
    printed
}

fn pause() {
    std::thread::sleep(Duration::from_millis(200));
}
