//! The one place where text becomes shell. Whoever writes a script, or a command for a person to copy, puts values in with
//! these and with nothing else.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::names::HostName;

/// One word of a POSIX shell that stands for exactly this text.
///
/// Always in single quotes: within them nothing is special but the quote itself. A NUL cannot be part of a shell word
/// and is left out.
pub fn sh(text: &str) -> String {
    let mut word = String::with_capacity(text.len() + 2);
    word.push('\'');
    for c in text.chars() {
        match c {
            '\0' => {}
            '\'' => word.push_str(r"'\''"),
            c => word.push(c),
        }
    }
    word.push('\'');
    word
}

/// Several words, one after the other.
pub fn sh_all(words: &[String]) -> String {
    words.iter().map(|word| sh(word)).collect::<Vec<_>>().join(" ")
}

/// A path in a command that a person copies: as [`sh`] where it needs that, otherwise as it is, which is easier to read.
pub fn path(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:,@".contains(c);
    if text.chars().all(plain) && !text.is_empty() { text } else { sh(&text) }
}

/// A command that a person copies to run it on a host: `ssh db1 'df -h | grep var'`.
pub fn ssh(host: &HostName, command: &str) -> String {
    let plain = command.chars().all(|c| c.is_ascii_alphanumeric() || " -_=./:@,".contains(c));
    if plain { format!("ssh {host} {command}") } else { format!("ssh {host} {}", sh(command)) }
}

/// A here-document that gives these bytes to `base64 -d`: `format!("base64 -d > /some/file {}", heredoc_base64(body))`.
/// Starts with `<<` and ends with a newline, so nothing else may stand on the same line after it.
///
/// Lines are 76 characters long: some tools refuse longer ones, and a line never looks like the end mark because `_`
/// is no base64 character.
pub fn heredoc_base64(bytes: &[u8]) -> String {
    const MARK: &str = "XNAT_BASE64";
    let encoded = STANDARD.encode(bytes);
    let mut text = String::with_capacity(encoded.len() + encoded.len() / 76 + 32);
    text.push_str(&format!("<<'{MARK}'\n"));
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(76));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(MARK);
    text.push('\n');
    text
}

/// An identifier, quoted for SQL.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text, quoted for SQL. With a backslash in it the E'' form is used, which means the same whatever
/// `standard_conforming_strings` is.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// psql's command that goes on in another database of the same server. A name alone could be taken for a connection string.
pub fn connect(database: &str) -> String {
    let value = database.replace('\\', r"\\").replace('\'', r"\'");
    let argument = format!("dbname='{value}'").replace('\\', r"\\").replace('\'', "''");
    format!("\\connect -reuse-previous=on '{argument}'")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_stays_a_name_in_psql() {
        assert_eq!(connect("xnat"), r"\connect -reuse-previous=on 'dbname=''xnat'''");
        // as psql 15 took it
        assert_eq!(connect(r"a'b\c"), r"\connect -reuse-previous=on 'dbname=''a\\''b\\\\c'''");
    }

    /// What the real `sh` makes of a script, byte by byte.
    fn run(script: &str) -> Vec<u8> {
        let mut shell =
            Command::new("sh").arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh starts");
        shell.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("sh reads");
        let output = shell.wait_with_output().expect("sh ends");
        assert!(output.status.success(), "sh failed on {script:?}");
        output.stdout
    }

    #[test]
    fn plain_and_awkward_words() {
        assert_eq!(sh("a b"), "'a b'");
        assert_eq!(sh(""), "''");
        assert_eq!(sh("it's"), r"'it'\''s'");
    }

    #[test]
    fn a_path_is_quoted_only_where_it_needs_that() {
        let path = |text: &str| path(Path::new(text));
        assert_eq!(path("/srv/xnat-1/größe_2.toml"), "/srv/xnat-1/größe_2.toml");
        assert_eq!(path("our site/xnat.toml"), "'our site/xnat.toml'");
        assert_eq!(path("$(id)/it's.toml"), r"'$(id)/it'\''s.toml'");
        for odd in ["~/x", "a;b", "a\"b", "a\\b", "a`b", "a*", "a#b", "a\nb", "a=b", "{a,b}", "a!b", "a\tb"] {
            assert_eq!(run(&format!("printf %s {}\n", path(odd))), odd.as_bytes());
        }
    }

    #[test]
    fn a_document_inside_a_function_with_its_input_closed() {
        let body = heredoc_base64(b"secret\n");
        assert_eq!(run(&format!("main() {{\nbase64 -d {body}}}\nmain </dev/null\n")), b"secret\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_word_is_what_it_was(text in "[^\0]{0,40}") {
            prop_assert_eq!(run(&format!("printf %s {}\n", sh(&text))), text.as_bytes());
        }

        #[test]
        fn shell_syntax_is_only_text(text in r#"['"$`\\!*?;&|<>(){}~# \n\t-]{0,40}"#) {
            prop_assert_eq!(run(&format!("printf %s {}\n", sh(&text))), text.as_bytes());
        }

        #[test]
        fn any_bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(run(&format!("base64 -d {}", heredoc_base64(&bytes))), bytes);
        }
    }

    #[test]
    fn sql_quotes_cannot_be_left() {
        assert_eq!(identifier(r#"a"; drop"#), r#""a""; drop""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"\' or 1=1"), r"E'\\'' or 1=1'");
    }
}
