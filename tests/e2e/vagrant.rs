//! The machines of `vagrant/`, as far as they can be looked at without one: what Vagrant says of its file, and what this
//! program says of the inventory written for them. `make test-vagrant` makes the machines.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::{Ran, run};

const TOPOLOGIES: [&str; 4] = ["single", "colocated", "minimal", "split"];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vagrant")
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; `make vagrant-tools` installs it"))
}

/// Vagrant, with a home and notes of its own.
fn vagrant(home: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Ran {
    let mut vagrant = Command::new("vagrant");
    vagrant.args(arguments).current_dir(directory()).env("VAGRANT_HOME", home.join("home"));
    vagrant.env("VAGRANT_DOTFILE_PATH", home.join("notes")).env("VAGRANT_DEFAULT_PROVIDER", "libvirt");
    vagrant.envs(settings.iter().copied());
    Ran::of(output(&mut vagrant))
}

#[test]
fn ruby_and_vagrant_find_nothing_wrong() {
    for file in ["Vagrantfile", "topology.rb"] {
        let checked = output(Command::new("ruby").args(["-w", "-c", file]).current_dir(directory()));
        assert_eq!(Ran::of(checked).expect(0).stdout, "Syntax OK\n");
    }
    let home = tempfile::tempdir().expect("a directory");
    for topology in TOPOLOGIES {
        for driver in ["kvm", "qemu"] {
            let settings = [("XNAT_VM_TOPOLOGY", topology), ("XNAT_VM_DRIVER", driver)];
            let said = vagrant(home.path(), &["validate"], &settings).expect(0);
            assert_eq!(said.stdout, "Vagrantfile validated successfully.\n", "{}", said.stderr);
        }
    }
}

#[test]
fn what_cannot_be_is_refused_with_what_can() {
    let home = tempfile::tempdir().expect("a directory");
    let refused = |settings: &[(&str, &str)]| vagrant(home.path(), &["validate"], settings).expect(1).stderr;
    let said = refused(&[("XNAT_VM_TOPOLOGY", "ring")]);
    assert!(said.contains("no topology ring: there are single, colocated, minimal, split"), "{said}");
    let said = refused(&[("XNAT_VM_HOSTS", "2")]);
    assert!(said.contains("2 database hosts: minimal takes 3 to 9"), "{said}");
}

/// Writes the inventory into a directory as the Vagrantfile does, host after host.
const WRITE: &str = r"
directory, topology, databases, emulated = ARGV
hosts = Topology.hosts(topology, databases.empty? ? nil : Integer(databases))
site = Topology::Site.new(directory)
head = Topology.head(user: 'vagrant', hosts: hosts, emulated: emulated == 'emulated')
hosts.each_with_index.to_a.reverse.each do |host, index|
  key = File.join(File.dirname(directory), host.name)
  system('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', key, exception: true) unless File.exist?(key)
  public_keys = File.read(key + '.pub')
  entry = Topology.entry(host, address: %(192.168.56.#{11 + index}), identity: key, public_keys: public_keys)
  site.add(host, entry, all: hosts, head: head)
end
";

fn ruby(script: &str, arguments: &[&str]) -> Ran {
    let mut ruby = Command::new("ruby");
    ruby.args(["-w", "-r", "./topology", "-e", script, "--"]).args(arguments).current_dir(directory());
    let ran = Ran::of(output(&mut ruby)).expect(0);
    assert_eq!(ran.stderr, "");
    ran
}

/// Writes an inventory and has the program check it.
fn checked(base: &Path, topology: &str, databases: &str, kind: &str) {
    let site = base.join(format!("{topology}{databases}{kind}"));
    let to = site.display().to_string();
    ruby(WRITE, &[&to, topology, databases, kind]);
    let inventory = site.join("inventory.toml").display().to_string();
    run(&["check", "--offline", &inventory]).expect(0);
}

/// As SSH's own tool prints it.
fn fingerprint(key: &Path) -> String {
    let told = Ran::of(output(Command::new("ssh-keygen").arg("-lf").arg(key))).expect(0).stdout;
    told.split(' ').nth(1).expect("the second word").to_owned()
}

#[test]
fn the_inventory_of_every_topology_is_good() {
    let base = tempfile::tempdir().expect("a directory");
    for topology in TOPOLOGIES {
        checked(base.path(), topology, "", "real");
        checked(base.path(), topology, "", "emulated");
    }
    let written = std::fs::read_to_string(base.path().join("minimalreal/inventory.toml")).expect("written");
    let place = |host: &str| written.find(&fingerprint(&base.path().join(host))).expect("its fingerprint is there");
    // the first to come up was the last of them
    assert!(place("db1") < place("db2") && place("db2") < place("db3") && place("db3") < place("lb1"), "{written}");
    for databases in ["4", "6", "9"] {
        checked(base.path(), "minimal", databases, "real");
    }
}

#[test]
fn an_inventory_goes_with_the_last_of_its_machines() {
    let base = tempfile::tempdir().expect("a directory");
    checked(base.path(), "colocated", "", "real");
    let site = base.path().join("colocatedreal");
    let remove =
        "site = Topology::Site.new(ARGV.shift); ARGV.each { |name| site.remove(Topology::Host.new(name, [])) }";
    let to = site.display().to_string();
    ruby(remove, &[&to, "db1", "db3"]);
    assert!(site.join("inventory.toml").exists());
    ruby(remove, &[&to, "db2"]);
    assert!(!site.exists());
}
