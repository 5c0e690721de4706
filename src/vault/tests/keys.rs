//! What opens a vault, what does not, and what is kept elsewhere.

use super::*;

const PASSPHRASE: (&str, &str) = ("XNAT_VAULT_PASSPHRASE", "correct horse battery");

/// What every error of a vault that cannot be opened has to be: of its own kind, and a matter for the administrator.
fn is(site: &Site, error: VaultError, code: &str) {
    use crate::error::{Exit, Fails};
    use miette::Diagnostic;
    assert_eq!(error.exit(), Exit::Usage, "{error}");
    assert_eq!(error.code().expect("it has one").to_string(), format!("xnat::vault::{code}"));
    assert!(site.shown(error).contains("help: "));
}

#[test]
fn a_passphrase_opens_what_it_sealed_and_another_does_not() {
    let site = Site::new("");
    let made = site.make(typed(&["correct horse battery", "correct horse battery"]));
    assert!(same(&made, &site.open(typed(&["correct horse battery"])).expect("opened").1));
    let (mut vault, _) = site.open(variables(&[PASSPHRASE])).expect("opened");
    vault.keep(&made).expect("kept without asking again");
    is(&site, site.open(typed(&["correct horse batterie"])).err().expect("refused"), "passphrase");
    is(&site, site.refused(), "no_passphrase");
    site.says("[vault]\npassphrase_command = \"echo correct horse battery\"\n");
    assert!(same(&made, &site.load().expect("opened").1));
    for (command, reason) in [("exit 3", "exit status: 3"), ("true", "printed nothing")] {
        site.says(&format!("[vault]\npassphrase_command = \"{command}\"\n"));
        let error = site.refused();
        assert!(error.to_string().contains(reason), "{error}");
        is(&site, error, "passphrase_command");
    }
    site.says(IDENTITY);
    is(&site, site.refused(), "other_lock");
}

#[test]
fn a_new_passphrase_is_asked_for_twice_and_never_weak() {
    for (answers, code) in [
        (&["", ""][..], "weak"),
        (&["short", "short"], "weak"),
        (&["correct horse battery", "correct horse batterie"], "differ"),
        (&["correct horse battery"], "no_passphrase"),
    ] {
        let site = Site::new("");
        let (mut vault, mut secrets) = site.open(typed(answers)).expect("nothing there");
        secrets.generate_missing().expect("random");
        is(&site, vault.keep(&secrets).expect_err("refused"), code);
        assert!(!site.sealed().exists());
    }
}

#[test]
fn each_damage_has_its_own_error_and_changes_nothing() {
    let site = Site::with_identity(IDENTITY);
    site.make(nobody());
    let good = fs::read(site.sealed()).expect("read");
    let middle = good.len() / 2;
    let mut flipped = good.clone();
    flipped[middle] ^= 1;
    let mut header = good.clone();
    header[224] ^= 1;
    let end = good.len() - 20;
    for (bytes, code) in [
        (&flipped[..], "damaged"),
        (&header, "damaged"),
        (&good[..end], "truncated"),
        (&good[..middle], "truncated"),
        (&good[..10], "truncated"),
        (b"", "empty"),
        (b"superuser = \"x\"\n", "foreign"),
        (b"\x7fELF\x02\x01", "foreign"),
        (b"age-encryption.org/v9\n-> X\n", "newer"),
        (b"age-encryption.org/v1\n-> ", "damaged"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3JnL3Y5Ci0+IFgK\n-----END AGE ENCRYPTED FILE-----\n", "newer"),
    ] {
        fs::write(site.sealed(), bytes).expect("written");
        is(&site, site.refused(), code);
        assert_eq!(fs::read(site.sealed()).expect("read"), bytes);
    }
    // Every bit there is.
    for place in (0..good.len()).step_by(7) {
        let mut flipped = good.clone();
        flipped[place] ^= 4;
        fs::write(site.sealed(), &flipped).expect("written");
        assert!(site.load().is_err() || flipped[place].is_ascii_whitespace(), "byte {place}");
    }
    fs::write(site.sealed(), &good).expect("written");
    site.load().expect("it was the bytes");
}

#[test]
fn a_file_that_age_wrote_itself_is_opened_too() {
    let site = Site::with_identity(IDENTITY);
    let made = site.make(nobody());
    let (vault, secrets) = site.load().expect("opened");
    let text = vault.editable(&secrets).expect("text");
    let identity = means::identities(&[site.file("key.txt")]).expect("read").remove(0);
    // Not armoured, and until it ends as a text would, which must not be taken for one.
    let binary = (0..4096).map(|_| age::encrypt(&identity.to_public(), text.as_bytes()).expect("encrypted"));
    let binary = binary.into_iter().find(|bytes| bytes.ends_with(b"\n") || bytes.ends_with(b" ")).expect("one of many");
    fs::write(site.sealed(), binary).expect("written");
    assert!(same(&made, &site.load().expect("opened").1));
    // Armoured, and sent by mail.
    let armoured = age::encrypt_and_armor(&identity.to_public(), text.as_bytes()).expect("encrypted");
    fs::write(site.sealed(), format!("\r\n{}\r\n\r\n", armoured.replace('\n', "\r\n"))).expect("written");
    assert!(same(&made, &site.load().expect("opened").1));
}

#[test]
fn identities_that_do_not_fit_are_told_apart() {
    let site = Site::with_identity(IDENTITY);
    site.make(nobody());
    let elsewhere = site.file("not/there/yet/other.txt");
    make_identity(&elsewhere).expect("made");
    let other = elsewhere.display().to_string();
    let with = |file: &str| site.open(variables(&[("XNAT_VAULT_IDENTITY", file)])).err().expect("refused");
    is(&site, with(&other), "identity");
    is(&site, with("/nonexistent/key.txt"), "no_identity_file");
    for text in
        ["", "# nothing", "AGE-PLUGIN-YUBIKEY-1XXXX", "ssh-ed25519 AAAA", "-----BEGIN OPENSSH PRIVATE KEY-----\n"]
    {
        fs::write(&elsewhere, text).expect("written");
        is(&site, with(&other), "bad_identity");
    }
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o644)).expect("mode set");
    is(&site, with(&other), "identity_file");
    site.says("");
    is(&site, site.refused(), "no_identity");
    let own = site.file("key.txt").display().to_string();
    site.open(variables(&[("XNAT_VAULT_IDENTITY", &own)])).expect("the environment names the one that fits");
    is(&site, make_identity(&site.file("key.txt")).expect_err("refused"), "identity_file");
}

#[test]
fn whoever_writes_locks_nobody_out() {
    let site = Site::with_identity(IDENTITY);
    let theirs = make_identity(&site.file("their.txt")).expect("made");
    site.says(&format!("{IDENTITY}recipients = [\"{theirs}\"]\n"));
    let made = site.make(nobody());
    // A colleague with an inventory that names nobody.
    site.says("[vault]\nidentity = \"their.txt\"\n");
    let (mut vault, secrets) = site.load().expect("opened");
    vault.keep(&secrets).expect("kept");
    site.says(IDENTITY);
    assert!(same(&made, &site.load().expect("still opened").1));
    // Until one is shut out.
    let done = site.rekey(nobody(), &[]).expect("rekeyed");
    assert!(matches!(&done.opens, Opens::Recipients(all) if all.len() == 1));
    site.says("[vault]\nidentity = \"their.txt\"\n");
    is(&site, site.refused(), "identity");
}

#[test]
fn recipients_need_somebody_who_opens_it_here() {
    let site = Site::with_identity("");
    let theirs = make_identity(&site.file("their.txt")).expect("made");
    site.says(&format!("[vault]\nrecipients = [\"{theirs}\"]\n"));
    let (mut vault, mut secrets) = site.load().expect("nothing there");
    secrets.generate_missing().expect("random");
    is(&site, vault.keep(&secrets).expect_err("refused"), "recipients");
}

#[test]
fn plain_text_is_encrypted_by_rekey_and_back() {
    let site = Site::new(PLAIN);
    let made = site.make(nobody());
    assert_eq!(mode(&site.plain()), 0o600);
    let (mut vault, _) = site.load().expect("loaded");
    vault.keep(&made).expect("kept, so that there is a version before");
    make_identity(&site.file("key.txt")).expect("made");
    site.says(IDENTITY);
    is(&site, site.refused(), "plain");
    let done = site.rekey(nobody(), &[]).expect("rekeyed");
    assert_eq!(done.old, None);
    assert!(!site.plain().exists() && !file::old(&site.plain()).exists(), "no plain text is left");
    assert!(same(&made, &site.load().expect("loaded").1));
    site.says(&format!("{IDENTITY}encryption = \"none\"\n"));
    is(&site, site.refused(), "sealed");
    site.rekey(nobody(), &[]).expect("decrypted");
    assert!(!site.sealed().exists() && file::old(&site.sealed()).exists());
    assert!(same(&made, &site.load().expect("loaded").1));
}

#[test]
fn a_rekey_that_was_cut_is_finished() {
    let site = Site::new(PLAIN);
    let made = site.make(nobody());
    let plain = fs::read(site.plain()).expect("read");
    make_identity(&site.file("key.txt")).expect("made");
    site.says(IDENTITY);
    site.rekey(nobody(), &[]).expect("rekeyed");
    file::create(&site.plain(), &plain).expect("as if it had been cut before this was removed");
    is(&site, site.refused(), "two_files");
    site.rekey(nobody(), &[]).expect("finished");
    assert!(same(&made, &site.load().expect("loaded").1));
    let other = String::from_utf8(plain).expect("text").replace(made.rewind.expose(), "something-else-0123");
    file::create(&site.plain(), other.as_bytes()).expect("written");
    is(&site, site.rekey(nobody(), &[]).expect_err("they differ"), "two_files");
    assert!(site.plain().exists() && site.sealed().exists());
}

#[test]
fn rekey_changes_what_opens_it() {
    let site = Site::new("");
    let made = site.make(variables(&[PASSPHRASE]));
    let next = ("XNAT_VAULT_NEW_PASSPHRASE", "another horse battery");
    assert_eq!(site.rekey(variables(&[PASSPHRASE, next]), &[]).expect("rekeyed").opens, Opens::Passphrase);
    is(&site, site.open(variables(&[PASSPHRASE])).err().expect("refused"), "passphrase");
    let now = ("XNAT_VAULT_PASSPHRASE", "another horse battery");
    make_identity(&site.file("key.txt")).expect("made");
    site.says(IDENTITY);
    let done = site.rekey(variables(&[now]), &[]).expect("to an identity");
    assert_eq!(done.old, Some(file::old(&site.sealed())));
    let another = site.file("another.txt");
    make_identity(&another).expect("made");
    site.says("[vault]\nidentity = \"another.txt\"\n");
    is(&site, site.rekey(nobody(), &[]).expect_err("refused"), "identity");
    site.rekey(nobody(), &[site.file("key.txt")]).expect("with the former one");
    assert!(same(&made, &site.load().expect("loaded").1));
}

const ELSEWHERE: &str = "[secrets]\napplication = { env = \"APPLICATION\" }\nrewind = { file = \"rewind\" }\n\
                         statistics = { command = \"echo from-the-command\" }\n";

#[test]
fn what_is_kept_elsewhere_is_not_kept_here() {
    let site = Site::with_identity(&format!("{IDENTITY}{ELSEWHERE}"));
    file::create(&site.file("rewind"), b"from-the-file\n").expect("written");
    let means = || variables(&[("APPLICATION", "from-the-environment")]);
    site.make(means());
    let (vault, secrets) = site.open(means()).expect("opened");
    assert_eq!(secrets.application.expose(), "from-the-environment");
    assert_eq!(secrets.rewind.expose(), "from-the-file");
    assert_eq!(secrets.statistics.expose(), "from-the-command");
    let text = vault.editable(&secrets).expect("text");
    assert!(!text.contains("from-the-") && !text.contains("rewind =") && text.contains("superuser ="), "{}", *text);
    // Names in the inventory are the names here.
    assert!(site.inventory().secrets.keys().all(|name| Secrets::names().any(|known| known == name)));
    // When it is to be kept here again, it is missing.
    site.says(IDENTITY);
    assert!(site.refused().to_string().ends_with("it has no rewind, no application, no statistics"));
}

#[test]
fn what_cannot_be_had_from_elsewhere_is_told_and_never_shown() {
    for (reference, says) in [
        ("{ env = \"UNSET\" }", "the environment variable UNSET: it is not set"),
        ("{ env = \"SHORT\" }", "this has 7 characters; 12 is the least"),
        ("{ file = \"absent\" }", "absent: there is no such file"),
        ("{ file = \"open\" }", "others than its owner may read it (mode 0644)"),
        ("{ file = \"lines\" }", "this has a control character in it"),
        ("{ command = \"echo hunter2; exit 7\" }", "it failed (exit status: 7)"),
        ("{ command = \"printf hunter2\" }", "this has 7 characters"),
    ] {
        let site = Site::with_identity(&format!("{IDENTITY}[secrets]\napplication = {reference}\n"));
        fs::write(site.file("open"), "hunter2hunter2").expect("written");
        fs::set_permissions(site.file("open"), Permissions::from_mode(0o644)).expect("mode set");
        file::create(&site.file("lines"), b"hunter2\nhunter2\n").expect("written");
        let error = site.open(variables(&[("SHORT", "hunter2")])).err().expect("refused");
        assert!(error.to_string().contains(says), "{error}");
        let debug = format!("{error:?}");
        // The command stands in the inventory, and is repeated.
        assert!(reference.contains("hunter2") || !debug.contains("hunter2"), "{debug}");
        is(&site, error, "reference");
    }
}

#[test]
fn everything_secret_is_masked_from_then_on() {
    let site = Site::new(ELSEWHERE);
    file::create(&site.file("rewind"), b"from-the-file").expect("written");
    let redactor = Redactor::default();
    let means = variables(&[PASSPHRASE, ("APPLICATION", "from-the-environment")]);
    let mut vault = Vault::of(&site.inventory(), means, &redactor);
    let mut secrets = vault.open().expect("opened");
    secrets.generate_missing().expect("random");
    secrets.pki = Pki { operator: Some(pair()), ..Pki::default() };
    vault.keep(&secrets).expect("kept");
    let said: String = secrets.each().map(|(_, secret)| format!("{}|", secret.expose())).collect();
    assert_eq!(redactor.clean(&said), "***|***|***|***|***|***|");
    assert_eq!(redactor.clean("x correct horse battery x bm90LWEta2V5LWF0LWFsbA== x"), "x *** x *** x");
}

fn pair() -> crate::pki::Pair {
    let key = "-----BEGIN PRIVATE KEY-----\nbm90LWEta2V5LWF0LWFsbA==\n-----END PRIVATE KEY-----\n";
    crate::pki::Pair { certificate: "not read".to_owned(), key: Secret::new(key) }
}
