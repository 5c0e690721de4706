//! The file of a bundle: the same content is the same bytes, and whatever is wrong with it is seen before it is used.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tar::{Builder, Header};
use xnat_provision::bundle::sign::{Pair, Signer, Trusted};
use xnat_provision::bundle::site::Site;
use xnat_provision::bundle::{
    BundleError, Content, FORMAT, Manifest, Offer, Opened, Packaged, Part, Target, archive, difference, offer,
};
use xnat_provision::digest::sha256;
use xnat_provision::engine::shell::bundle::{RECEIVE, STORED};
use xnat_provision::inventory::Repository;
use xnat_provision::resource::PackageWanted;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn target(codename: &str) -> Target {
    Target { os: "debian".to_owned(), codename: codename.to_owned(), arch: "amd64".to_owned() }
}

fn package(name: &str, version: &str, carried: bool) -> Packaged {
    let content = format!("the package {name} {version}");
    Packaged {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: "amd64".to_owned(),
        source: format!("{name} {version}"),
        bytes: content.len() as u64,
        sha256: sha256(&content),
        origin: format!("pool/{name}.deb"),
        carried,
    }
}

fn manifest(packages: Vec<Packaged>) -> Manifest {
    Manifest {
        format: FORMAT,
        made_by: "0.0.0".to_owned(),
        target: target("trixie"),
        wanted: vec!["patroni".to_owned()],
        facts: None,
        since: None,
        sources: Vec::new(),
        packages,
        files: Vec::new(),
    }
}

fn parts(packages: &[Packaged]) -> Vec<Part> {
    let stanza = |it: &Packaged| {
        format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nInstalled-Size: 7\nSize: {}\nSHA256: {}\n\n",
            it.name, it.version, it.arch, it.bytes, it.sha256
        )
    };
    let part = |path: String, text: String| Part { path, content: Content::Bytes(text.into_bytes()), program: false };
    let carried = packages.iter().filter(|it| it.carried);
    let mut parts: Vec<Part> =
        carried.map(|it| part(it.path(), format!("the package {} {}", it.name, it.version))).collect();
    parts.push(part(offer::INDEX.to_owned(), packages.iter().map(stanza).collect()));
    parts
}

fn write(path: &Path, manifest: Manifest, signer: Option<&Signer>) {
    let parts = parts(&manifest.packages);
    archive::write(path, manifest, parts, signer).expect("written");
}

fn two() -> Vec<Packaged> {
    vec![package("patroni", "4.0", true), package("etcd-server", "1:3.5", true)]
}

fn signer(place: &Place, pair: &Pair) -> Signer {
    let path = place.path("key");
    std::fs::write(&path, &pair.secret).expect("written");
    Signer::read(&path, || Err("nobody is to be asked".to_owned())).expect("a key")
}

#[test]
fn the_same_content_is_the_same_bytes_and_comes_out_again() {
    let place = Place::new();
    let pair = Pair::generate("").expect("made");
    let signer = signer(&place, &pair);
    for name in ["one", "two"] {
        write(&place.path(name), manifest(two()), None);
    }
    let bytes = |name: &str| std::fs::read(place.path(name)).expect("read");
    assert_eq!(bytes("one"), bytes("two"));
    write(&place.path("one"), manifest(two()), Some(&signer));
    let key = Trusted::parse(&pair.public).expect("a key");
    let opened = Opened::check(&place.path("one"), Some(&key)).expect("good");
    assert_eq!(opened.manifest.files.len(), 3);
    let offer = Offer::open(&[place.path("one")], Some(&key)).expect("good");
    assert_eq!(offer.version("patroni"), Some("4.0"));
    let wanted = offer.needed("db1", &[("etcd-server".to_owned(), "1:3.5".to_owned())]).expect("it has it");
    let mut taken = Vec::new();
    let digests = wanted.iter().map(|it| it.sha256.clone()).collect();
    let mut keep = |_: &str, bytes| {
        taken.push(bytes);
        Ok(())
    };
    offer.take(&digests, &mut keep).expect("read");
    assert_eq!(taken, [b"the package etcd-server 1:3.5"]);
}

#[test]
fn every_flipped_bit_is_seen() {
    let place = Place::new();
    write(&place.path("good"), manifest(two()), None);
    let good = std::fs::read(place.path("good")).expect("read");
    let whole = Opened::check(&place.path("good"), None).expect("good").sha256;
    let bad = place.path("bad");
    let mut without_meaning = Vec::new();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&bad, &bytes).expect("written");
        if let Ok(opened) = Opened::check(&bad, None) {
            assert_eq!(opened.sha256, whole, "byte {at} of {} was changed, and nobody saw it", good.len());
            without_meaning.push(at);
        }
    }
    // some bits of zstd say nothing, or how much memory it may take
    assert!(without_meaning.len() < 10, "{without_meaning:?}");
    for end in [0, 1, good.len() / 2, good.len() - 1] {
        std::fs::write(&bad, &good[..end]).expect("written");
        Opened::check(&bad, None).expect_err("cut off");
    }
    let longer = [good.as_slice(), b"more"].concat();
    std::fs::write(&bad, longer).expect("written");
    Opened::check(&bad, None).expect_err("something behind its end");
}

/// A tar as it should not be.
fn pack(path: &Path, files: &[(&str, &[u8])]) {
    let mut encoder = zstd::Encoder::new(std::fs::File::create(path).expect("made"), 1).expect("an encoder");
    let mut tar = Builder::new(&mut encoder);
    for (name, content) in files {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *content).expect("appended");
    }
    tar.finish().expect("finished");
    drop(tar);
    encoder.finish().expect("finished").flush().expect("written");
}

/// Names and contents.
type Files = Vec<(String, Vec<u8>)>;

fn unpacked(path: &Path) -> Files {
    let mut tar = tar::Archive::new(zstd::Decoder::new(std::fs::File::open(path).expect("there")).expect("zstd"));
    let read = |entry: Result<tar::Entry<'_, _>, _>| {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("read");
        (name, bytes)
    };
    tar.entries().expect("a tar").map(read).collect()
}

fn told(path: &Path, key: Option<&Trusted>) -> String {
    Opened::check(path, key).expect_err("refused").to_string()
}

#[test]
fn what_is_missing_added_exchanged_or_no_bundle_is_named() {
    let place = Place::new();
    let (good, bad) = (place.path("good"), place.path("bad"));
    write(&good, manifest(two()), None);
    let files = unpacked(&good);
    let repack = |change: &dyn Fn(&mut Files)| {
        let mut files = files.clone();
        change(&mut files);
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        pack(&bad, &files);
        told(&bad, None)
    };
    assert!(repack(&|files| drop(files.pop())).ends_with("patroni_4.0_amd64.deb is missing"));
    let extra = repack(&|files| files.push(("extra".to_owned(), Vec::new())));
    assert!(extra.ends_with("extra is in it, and its manifest does not list it"), "{extra}");
    let other = repack(&|files| files.last_mut().expect("some").1[0] = b'T');
    assert!(other.ends_with("patroni_4.0_amd64.deb is not as its manifest says"), "{other}");
    let twice = repack(&|files| files.push(files[2].clone()));
    assert!(twice.contains("is in it twice"), "{twice}");
    assert!(repack(&|files| drop(files.remove(0))).contains("does not begin with a manifest"));
    let newer = repack(&|files| {
        let text = String::from_utf8(files[0].1.clone()).expect("text");
        files[0].1 = text.replacen("\"format\": 1", "\"format\": 9", 1).into_bytes();
    });
    assert!(newer.contains("which this version does not know"), "{newer}");
    std::fs::write(&bad, "a text").expect("written");
    assert!(told(&bad, None).contains("is not a bundle"));
    assert!(told(&place.path("absent"), None).starts_with("cannot open"));
}

#[test]
fn another_signature_or_none_is_refused_where_one_is_asked_for() {
    let place = Place::new();
    let (ours, other) = (Pair::generate("").expect("made"), Pair::generate("").expect("made"));
    let key = Trusted::parse(&ours.public).expect("a key");
    let path = place.path("bundle");
    write(&path, manifest(two()), None);
    assert!(told(&path, Some(&key)).ends_with("it is not signed at all"));
    write(&path, manifest(two()), Some(&signer(&place, &other)));
    assert!(told(&path, Some(&key)).ends_with(&format!("and {} should have", key.id())));
    // the signature of one manifest over another
    write(&path, manifest(two()), Some(&signer(&place, &ours)));
    let signed = unpacked(&path);
    write(&path, manifest(vec![package("patroni", "4.1", true)]), Some(&signer(&place, &ours)));
    let mut mixed = unpacked(&path);
    mixed[1] = signed[1].clone();
    let mixed: Vec<(&str, &[u8])> = mixed.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    pack(&path, &mixed);
    assert!(told(&path, Some(&key)).ends_with("is of another text"));
}

#[test]
fn a_delta_names_what_it_leaves_out_and_is_used_with_the_one_before() {
    let place = Place::new();
    let (base, delta) = (place.path("base"), place.path("delta"));
    write(&base, manifest(two()), None);
    let since = Some(Opened::check(&base, None).expect("good").sha256);
    let packages = vec![package("patroni", "4.1", true), package("etcd-server", "1:3.5", false)];
    write(&delta, Manifest { since, ..manifest(packages) }, None);
    let both =
        [("patroni", "4.1"), ("etcd-server", "1:3.5")].map(|(name, version)| (name.to_owned(), version.to_owned()));
    let alone = Offer::open(std::slice::from_ref(&delta), None).expect("good");
    assert_eq!(alone.needed("db1", &both[..1]).expect("it has it").len(), 1);
    let error = alone.needed("db1", &both).expect_err("only named").to_string();
    assert!(
        error.starts_with("db1 needs 1 of the packages that") && error.ends_with("leaves out: etcd-server"),
        "{error}"
    );
    let together = Offer::open(&[base.clone(), delta.clone()], None).expect("good");
    assert_eq!(together.version("patroni"), Some("4.1"));
    let needed = together.needed("db1", &both).expect("together they have all");
    let mut taken = 0;
    let digests = needed.iter().map(|it| it.sha256.clone()).collect();
    let mut count = |_: &str, _| {
        taken += 1;
        Ok(())
    };
    together.take(&digests, &mut count).expect("read");
    assert_eq!(taken, 2);
    let opened = |path: &Path| Opened::check(path, None).expect("good").manifest;
    let found = difference(&opened(&base), &opened(&delta));
    assert_eq!(found.changed, [("patroni".to_owned(), "4.0".to_owned(), "4.1".to_owned())]);
    assert!(found.added.is_empty() && found.removed.is_empty());
    assert!(difference(&opened(&base), &opened(&base)).is_empty());
}

#[test]
fn bundles_for_others_are_refused() {
    let place = Place::new();
    let (trixie, bookworm) = (place.path("trixie"), place.path("bookworm"));
    write(&trixie, manifest(two()), None);
    write(&bookworm, Manifest { target: target("bookworm"), ..manifest(two()) }, None);
    let offer = Offer::open(std::slice::from_ref(&trixie), None).expect("good");
    offer.fits("db1", &target("trixie")).expect("it is for it");
    let error = offer.fits("db1", &target("bookworm")).expect_err("another release").to_string();
    assert!(
        error.starts_with("db1 has debian bookworm amd64, and ") && error.ends_with("is for debian trixie amd64"),
        "{error}"
    );
    Offer::open(&[trixie.clone(), bookworm], None).expect_err("two that do not belong together");
    // one package of one version with two contents
    let forged = place.path("forged");
    let mut packages = two();
    packages[0].sha256 = sha256("something else");
    packages[0].carried = false;
    write(&forged, manifest(packages), None);
    let error = Offer::open(&[trixie, forged], None).expect_err("which one is it?");
    assert!(matches!(error, BundleError::Conflict { .. }), "{error}");
}

/// What a script of a host says, of a store in `place`.
fn on_host(script: &str, place: &Place, input: &[u8]) -> String {
    use std::process::{Command, Stdio};
    let store = place.path("store");
    std::fs::create_dir_all(&store).expect("made");
    let script = script.replace("/var/cache/xnat-provision/bundle", store.to_str().expect("UTF-8"));
    let mut child =
        Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh");
    child.stdin.take().expect("piped").write_all(input).expect("it reads");
    String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("text")
}

#[test]
fn a_host_goes_on_in_the_middle_of_a_package_and_keeps_nothing_spoilt() {
    let place = Place::new();
    let (one, two) = ("the first package\n".repeat(1000), "\0the second, with any bytes\n\n".repeat(700));
    let digests = [sha256(&one), sha256(&two)];
    let line = |digest: &str, offset: usize, length: usize| format!("{digest} {offset} {length}\n");
    // cut off in the middle of the second one
    let head =
        [line(&digests[0], 0, one.len()), one.clone(), line(&digests[1], 0, two.len()), two[..777].to_owned()].concat();
    let said = on_host(RECEIVE, &place, head.as_bytes());
    assert_eq!(said, format!("ready\ngood {}\n", digests[0]), "without its end it says none");
    let stored = on_host(STORED, &place, b"");
    assert!(
        stored.starts_with(&format!("H {}\nP {} 777\nS ", digests[0], digests[1])) && stored.ends_with("\nend\n"),
        "{stored}"
    );
    let rest = [line(&digests[1], 777, two.len() - 777), two[777..].to_owned(), "end - -\n".to_owned()].concat();
    assert_eq!(on_host(RECEIVE, &place, rest.as_bytes()), format!("ready\ngood {}\nend\n", digests[1]));
    // a package that a power cut has spoilt is not there any more, and a part of less than was thought begins anew
    std::fs::write(place.path("store").join(format!("{}.deb", digests[0])), "zeroes").expect("written");
    assert!(!on_host(STORED, &place, b"").contains(&digests[0]));
    let wrong =
        [line(&digests[0], 5, one.len() - 5), one[5..].to_owned(), line(&digests[0], 0, 4), "else".to_owned()].concat();
    let both = [wrong, line(&digests[0], 0, one.len()), one.clone(), "end - -\n".to_owned()].concat();
    let said = on_host(RECEIVE, &place, both.as_bytes());
    assert_eq!(said, format!("ready\nbad {0}\nbad {0}\ngood {0}\nend\n", digests[0]));
}

#[test]
fn hosts_give_packages_to_each_other_for_a_token_only() {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::{Command, Stdio};
    let program = include_str!("../../src/engine/relay.pl");
    let (seed, pull) = (Place::new(), Place::new());
    let body = "a package of some length\n".repeat(20_000);
    let digest = sha256(&body);
    std::fs::write(seed.path(&format!("{digest}.deb")), &body).expect("written");
    let begun = |verb: &str, place: &Place| {
        let directory = place.0.path();
        let mut perl = Command::new("perl");
        perl.args(["-e", program, verb]).arg(directory).arg("127.0.0.1").stdin(Stdio::piped()).stdout(Stdio::piped());
        perl.stderr(Stdio::null()).spawn().expect("perl")
    };
    let mut server = begun("seed", &seed);
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line).expect("it says where");
    let words: Vec<&str> = line.split_whitespace().collect();
    let (port, token) = (words[1], words[2]);
    let asked = |token: &str, place: &Place| {
        let mut puller = begun("pull", place);
        let text = format!("127.0.0.1 {port} {token}\n{digest} {}\nend\n", body.len());
        puller.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
        let mut said = String::new();
        puller.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
        puller.wait().expect("it ends");
        said
    };
    assert_eq!(asked(&"0".repeat(32), &pull), "", "another token");
    // what an earlier one has left is gone on from
    std::fs::write(pull.path(&format!(".{digest}.part")), &body[..1000]).expect("written");
    assert_eq!(asked(token, &pull), format!("good {digest}\nend\n"));
    assert_eq!(std::fs::read_to_string(pull.path(&format!("{digest}.deb"))).expect("there"), body);
    // it ends with whoever has started it
    drop(server.stdin.take());
    server.wait().expect("it ends");
}

#[test]
fn facts_that_mean_more_than_they_say_are_refused() {
    let place = Place::new();
    let path = place.path("facts");
    let mut site = Site::new(Vec::new());
    let status =
        "Package: apt\nStatus: install ok installed\nVersion: 3.0\nArchitecture: amd64\nDescription: secret?\n";
    let wanted = std::collections::BTreeSet::from([PackageWanted { name: "patroni".to_owned(), version: None }]);
    site.add("db1", target("trixie"), &wanted, status).expect("read");
    let read = |change: &dyn Fn(&mut Site)| {
        let mut site = site.clone();
        change(&mut site);
        std::fs::write(&path, site.text()).expect("written");
        Site::read(&path).map(|(site, _)| site)
    };
    let good = read(&|_| ()).expect("as it was written");
    assert_eq!(good, site);
    assert_eq!(
        good.status(&good.hosts[0]),
        "Package: apt\nStatus: install ok installed\nArchitecture: amd64\nVersion: 3.0\n\n"
    );
    assert!(!site.text().contains("secret"), "only what apt needs");
    let codename = |text: &str| {
        let text = text.to_owned();
        read(&move |site| site.hosts[0].target.codename = text.clone()).expect_err("refused").to_string()
    };
    assert!(codename("trixie main\ndeb [trusted=yes] http://example.org ./").contains("cannot be a release"));
    assert!(codename("../../etc").contains("cannot be a release"));
    let wanted = read(&|site| site.hosts[0].wanted.push("-o APT::Evil=1".to_owned())).expect_err("refused");
    assert!(wanted.to_string().contains("cannot be a package"), "{wanted}");
    let repository = |name: &str, url: &str| {
        let (name, url) = (name.to_owned(), url.to_owned());
        let change = move |site: &mut Site| {
            let (name, url, suite) = (name.clone(), url.clone(), "{codename}".to_owned());
            site.repositories.push(Repository {
                name,
                url,
                suite,
                components: vec!["main".to_owned()],
                key: String::new(),
            });
        };
        read(&change)
    };
    repository("site", "https://example.org/debian").expect("good");
    repository("../site", "https://example.org/debian").expect_err("it would be a path");
    repository("site", "[trusted=yes] https://example.org").expect_err("it would be an option");
}
