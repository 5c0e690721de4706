//! Takes known secrets out of texts. Sits where events enter the channel ([`super::Reporter::emit`]) and cleans the text
//! of the final error. Types keep most secrets from ever getting here ([`crate::secret`]); this is the net below them,
//! for what *other machines* print.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::BuildHasher as _;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// What stands where a secret was.
pub const MASK: &str = "***";

/// Shorter secrets are not looked for: masking every `pg` or `root` would make the output unreadable, and the holes would
/// tell the secret. The passwords we make are much longer; short ones can only be typed ones, which travel by stdin.
const SHORTEST: usize = 6;

/// Tools wrap base64 wherever the line is full. A piece at the edge of a line is taken for one from this length on:
/// long enough not to meet a word by chance, and short enough that of any password the vault takes (12 characters, 15 of
/// base64 that depend on nothing else) at least one of two pieces is masked.
const SHORTEST_PIECE: usize = 8;

/// The secrets known so far, in every form they are likely to be printed in. Clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<RwLock<Known>>,
}

/// The keys of two hundred hosts have tens of thousands of forms, so a text is gone through once and not once for each.
#[derive(Default)]
struct Known {
    /// Masked wherever they stand.
    forms: Vec<Zeroizing<String>>,
    /// Which of them begin with [`SHORTEST`] bytes of this hash.
    beginnings: HashMap<u64, Vec<usize>>,
    /// Base64: masked also where only the beginning or the end of one stands at the edge of a line.
    wrapped: BTreeSet<usize>,
    /// Hashes of every [`SHORTEST_PIECE`] bytes of these: few lines begin or end with any of them, and only those are looked
    /// at closely.
    edges: HashSet<u64>,
    hasher: RandomState,
}

/// Whether a secret is looked for from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a secret that is too short is not masked"]
pub enum Registration {
    Masked,
    /// Too short to be masked without masking half of the output.
    TooShort,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// Look for this secret from now on. Do it before anything that knows the secret can fail or print.
    pub fn register(&self, secret: &Secret) -> Registration {
        let value = secret.expose();
        if value.len() < SHORTEST {
            return Registration::TooShort;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // A key of several lines is printed line by line, and by other tools as one line or in lines of another length.
        // What every key begins and ends with is no secret.
        let lines = || value.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        if value.contains("-----BEGIN ") {
            known.add_wrapped(Zeroizing::new(lines().collect()));
        }
        for part in std::iter::once(value).chain(lines().filter(|line| line.len() >= SHORTEST)) {
            for form in written_forms(part) {
                for encoded in base64_forms(&form) {
                    known.add_wrapped(encoded);
                }
                _ = known.add(form);
            }
        }
        Registration::Masked
    }

    /// The text with every known secret replaced by [`MASK`].
    pub fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = known.find(text);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_by_key(|range| range.start);
        let mut clean = String::with_capacity(text.len());
        let mut end = 0;
        for range in found {
            if range.start >= end {
                clean.push_str(&text[end..range.start]);
                clean.push_str(MASK);
            }
            end = end.max(range.end);
        }
        clean.push_str(&text[end..]);
        Cow::Owned(clean)
    }
}

impl Known {
    /// Where the form is from now on; nowhere when it is too short.
    fn add(&mut self, form: Zeroizing<String>) -> Option<usize> {
        let beginning = form.as_bytes().first_chunk::<SHORTEST>()?;
        let alike = self.beginnings.entry(self.hasher.hash_one(beginning.as_slice())).or_default();
        if let Some(at) = alike.iter().find(|at| self.forms[**at] == form) {
            return Some(*at);
        }
        alike.push(self.forms.len());
        self.forms.push(form);
        Some(self.forms.len() - 1)
    }

    fn add_wrapped(&mut self, form: Zeroizing<String>) {
        if let Some(at) = self.add(form)
            && self.wrapped.insert(at)
        {
            let pieces = self.forms[at].as_bytes().windows(SHORTEST_PIECE);
            self.edges.extend(pieces.map(|piece| self.hasher.hash_one(piece)));
        }
    }

    /// Where secrets stand; the ranges may overlap.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for (at, beginning) in text.as_bytes().windows(SHORTEST).enumerate() {
            let Some(alike) = self.beginnings.get(&self.hasher.hash_one(beginning)) else { continue };
            // What begins like a text begins at a character, so the ranges do, too.
            let forms = alike.iter().map(|form| self.forms[*form].as_bytes());
            found.extend(forms.filter(|form| text.as_bytes()[at..].starts_with(form)).map(|form| at..at + form.len()));
        }
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let shown = line.trim_end();
            let indent = shown.len() - shown.trim_start().len();
            if self.may_be_cut(&shown.as_bytes()[indent..]) {
                let wrapped = self.wrapped.iter().map(|form| &self.forms[*form]);
                let pieces = wrapped.flat_map(|form| pieces(form, &shown[indent..]));
                found.extend(pieces.map(|range| range.start + start + indent..range.end + start + indent));
            }
            start += line.len();
        }
        found
    }

    /// Whether a piece of a secret may stand at either edge of the line.
    fn may_be_cut(&self, line: &[u8]) -> bool {
        let edges = [line.first_chunk::<SHORTEST_PIECE>(), line.last_chunk()];
        edges.into_iter().flatten().any(|edge| self.edges.contains(&self.hasher.hash_one(edge.as_slice())))
    }
}

/// Where a piece of `form` stands at the beginning or the end of the line, or fills it.
fn pieces(form: &str, line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if line.len() < SHORTEST_PIECE {
        return found;
    }
    if form.contains(line) {
        found.push(0..line.len());
        return found;
    }
    let longest = form.len().min(line.len());
    // Base64 is ASCII, so every index is a character boundary.
    if let Some(length) = (SHORTEST_PIECE..=longest).rev().find(|&n| line.ends_with(&form[..n])) {
        found.push(line.len() - length..line.len());
    }
    if let Some(length) = (SHORTEST_PIECE..=longest).rev().find(|&n| line.starts_with(&form[form.len() - n..])) {
        found.push(0..length);
    }
    found
}

/// The text as programs write it: bare, in shell quotes, JSON, YAML and SQL strings, Python's repr, URLs, password files.
fn written_forms(value: &str) -> Vec<Zeroizing<String>> {
    let json = json_string(value);
    let forms = [
        value.to_owned(),
        value.replace('\'', r"'\''"),
        value.replace('\'', r#"'"'"'"#),
        // single-quoted YAML, SQL literals
        value.replace('\'', "''"),
        // double quotes of a shell; every special character alone, as printf %q has it
        escaped(value, |c| matches!(c, '$' | '`' | '"' | '\\')),
        escaped(value, |c| c.is_ascii() && !c.is_ascii_alphanumeric() && !"_-./:@%+,=".contains(c)),
        // Python's repr, libpq's connection strings, ~/.pgpass
        escaped(value, |c| matches!(c, '\'' | '\\')),
        escaped(value, |c| matches!(c, '\\')),
        escaped(value, |c| matches!(c, ':' | '\\')),
        // Python and Go write what JSON allows to be written differently differently
        ascii_json(&json),
        json.replace('&', r"\u0026").replace('<', r"\u003c").replace('>', r"\u003e"),
        // JSON in a string in JSON
        json_string(&json),
        json,
        percent(value, "-._~", "%20"),
        lower_escapes(&percent(value, "-._~", "%20")),
        percent(value, "", "%20"),
        lower_escapes(&percent(value, "", "%20")),
        percent(value, "-._~", "+"),
        percent(value, "-._~!*'()", "%20"),
        percent(value, "-._~!$&'()*+,;=:@", "%20"),
        percent(value, "-._~/", "%20"),
    ];
    let mut forms: Vec<_> = forms.into_iter().map(Zeroizing::new).collect();
    forms.sort_by(|a, b| a.as_str().cmp(b));
    forms.dedup();
    forms
}

/// Without the quotes around it.
fn json_string(value: &str) -> String {
    let quoted = Zeroizing::new(serde_json::Value::from(value).to_string());
    quoted[1..quoted.len() - 1].to_owned()
}

fn escaped(value: &str, special: impl Fn(char) -> bool) -> String {
    value.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

/// What is beyond ASCII as `\uXXXX`.
fn ascii_json(json: &str) -> String {
    let mut units = [0; 2];
    json.chars().fold(String::new(), |mut text, c| {
        if c.is_ascii() {
            text.push(c);
        } else {
            c.encode_utf16(&mut units).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
        text
    })
}

/// Percent-encoding: `kept` are the characters besides letters and digits that stay.
fn percent(value: &str, kept: &str, space: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b' ' => text.push_str(space),
            _ if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

/// `%2F` → `%2f`, and nothing else.
fn lower_escapes(percent: &str) -> String {
    let mut left = 0;
    let lower = |c: char| {
        left = if c == '%' { 3 } else { i32::max(left - 1, 0) };
        if left > 0 { c.to_ascii_lowercase() } else { c }
    };
    percent.chars().map(lower).collect()
}

/// Base64 of a text that contains `value`: what surely stands in it, for each of the three ways the bytes can fall into
/// groups of three, in both alphabets. The characters that also depend on the neighbours are left out.
fn base64_forms(value: &str) -> Vec<Zeroizing<String>> {
    let mut forms = Vec::new();
    for before in 0..3 {
        let mut bytes = Zeroizing::new(vec![0; before]);
        bytes.extend_from_slice(value.as_bytes());
        let skip = [0, 2, 3][before];
        let sure = bytes.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let encoded = Zeroizing::new(engine.encode(&bytes));
            forms.push(Zeroizing::new(encoded[skip..sure].to_owned()));
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knowing(secrets: &[&str]) -> Redactor {
        let redactor = Redactor::default();
        for secret in secrets {
            assert_eq!(redactor.register(&Secret::new(*secret)), Registration::Masked);
        }
        redactor
    }

    #[test]
    fn a_text_without_secrets_is_not_copied() {
        assert!(matches!(knowing(&["hunter2-hunter2"]).clean("nothing here"), Cow::Borrowed(_)));
    }

    #[test]
    fn every_form_is_masked() {
        let redactor = knowing(&[r#"pa ss'w"o\r$d:/ä&<"#]);
        let forms = [
            r#"pa ss'w"o\r$d:/ä&<"#,
            r#"pa ss'\''w"o\r$d:/ä&<"#,
            r#"pa ss'"'"'w"o\r$d:/ä&<"#,
            r#"pa ss''w"o\r$d:/ä&<"#,
            r#"pa ss'w\"o\\r\$d:/ä&<"#,
            r#"pa\ ss\'w\"o\\r\$d:/ä\&\<"#,
            r#"pa ss'w\"o\\r$d:/ä&<"#,
            r#"pa ss'w\"o\\r$d:/\u00e4&<"#,
            r#"pa ss'w\"o\\r$d:/ä\u0026\u003c"#,
            r#"pa ss\'w"o\\r$d:/ä&<"#,
            r#"pa ss'w"o\\r$d\:/ä&<"#,
            "pa%20ss%27w%22o%5Cr%24d%3A%2F%C3%A4%26%3C",
            "pa%20ss%27w%22o%5cr%24d%3a%2f%c3%a4%26%3c",
            "pa+ss%27w%22o%5Cr%24d%3A%2F%C3%A4%26%3C",
            "pa%20ss'w%22o%5Cr%24d%3A%2F%C3%A4%26%3C",
        ];
        for form in forms {
            assert_eq!(redactor.clean(&format!("<{form}>")), "<***>", "{form}");
        }
    }

    #[test]
    fn base64_is_masked_wherever_the_secret_falls_in_it() {
        let redactor = knowing(&["correct-horse-battery"]);
        for user in ["", "a", "ab", "patroni"] {
            let header = STANDARD_NO_PAD.encode(format!("{user}:correct-horse-battery, and more"));
            let clean = redactor.clean(&header).into_owned();
            assert!(clean.contains(MASK) && clean.len() < header.len() - 20, "{clean}");
        }
    }

    #[test]
    fn base64_wrapped_by_a_tool_is_masked_on_both_lines() {
        let redactor = knowing(&["correct-horse-battery"]);
        let encoded = STANDARD_NO_PAD.encode("correct-horse-battery");
        let (first, second) = encoded.split_at(12);
        assert_eq!(redactor.clean(&format!("xx{first}\n    {second}yy\n")), "xx***\n    ***yy\n");
    }

    #[test]
    fn the_lines_of_a_key_are_masked_one_by_one() {
        let redactor = knowing(&["-----BEGIN KEY-----\nabcdefghijkl\nmnopqrstuvwx\n"]);
        assert_eq!(redactor.clean("b: mnopqrstuvwx"), "b: ***");
        assert_eq!(redactor.clean("-----BEGIN KEY-----"), "-----BEGIN KEY-----");
    }

    #[test]
    fn a_key_in_lines_of_another_length_is_masked() {
        let redactor = knowing(&["-----BEGIN KEY-----\nabcdefghijkl\nmnopqrstuvwx\n-----END KEY-----\n"]);
        assert_eq!(redactor.clean("abcdefghijklmnop\n  qrstuvwx\n"), "***\n  ***\n");
        assert_eq!(redactor.clean("key=abcdefghijklmnopqrstuvwx"), "key=***");
    }

    #[test]
    fn secrets_that_overlap_leave_nothing_of_each_other() {
        let redactor = knowing(&["abcdefgh", "efghijkl", "abcdef"]);
        assert_eq!(redactor.clean("1abcdefghijkl2"), "1***2");
    }

    #[test]
    fn short_secrets_are_refused_rather_than_holes_torn() {
        let redactor = Redactor::default();
        assert_eq!(redactor.register(&Secret::new("root")), Registration::TooShort);
        assert_eq!(redactor.clean("root login"), "root login");
    }
}
