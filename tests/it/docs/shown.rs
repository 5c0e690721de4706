//! What a document shows of a session: commands after `$`, and below each what it printed, with `…` for whatever is left
//! out. Used by the quick tests for what needs no host, and by `tests/e2e/tutorial.rs` for the tutorial.

/// A command that is shown, and what of its output.
#[derive(Clone, Debug)]
pub struct Shown {
    /// `xnat-provision`, then its words.
    pub words: Vec<String>,
    /// As a comment behind the command says (`# status 4`); otherwise it is 0.
    pub status: i32,
    /// It asks, and is answered with yes.
    pub asks: bool,
    pub lines: Vec<String>,
}

/// The commands of this program in a fence.
pub fn of_fence(text: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for line in text.lines() {
        let Some(typed) = line.strip_prefix("$ ") else {
            match all.last_mut() {
                Some(shown) if line.contains("[y/N]") => shown.asks = true,
                Some(shown) => shown.lines.push(line.to_owned()),
                None => {}
            }
            continue;
        };
        let (command, comment) = typed.split_once(" #").unwrap_or((typed, ""));
        let words: Vec<String> = words(command).into_iter().skip_while(|word| word == "sudo").collect();
        let status = comment.trim().strip_prefix("status ").map_or(0, |number| number.parse().expect("a number"));
        all.push(Shown { words, status, asks: false, lines: Vec::new() });
    }
    all.retain(|shown| shown.words.first().is_some_and(|word| word == "xnat-provision"));
    all
}

/// As a shell would split it, as far as documents go; without what becomes of the output.
pub fn words(command: &str) -> Vec<String> {
    let command = [" >", " |", " \\|"].iter().fold(command, |rest, mark| rest.split(mark).next().unwrap_or_default());
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in command.chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (' ', None) => words.push(String::new()),
            (c, _) => words.last_mut().expect("there is one").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

impl Shown {
    /// The line that was shown and not printed, if there is one. Numbers and widths may differ.
    pub fn missing(&self, printed: &str) -> Option<&str> {
        let printed: Vec<String> = printed.lines().map(alike).collect();
        let mut rest = printed.iter();
        self.lines
            .iter()
            .map(String::as_str)
            .filter(|line| !line.trim().is_empty() && line.trim() != "…")
            .find(|line| !rest.any(|other| fits(&alike(line), other)))
    }
}

/// A line with every number the same, and every gap.
fn alike(line: &str) -> String {
    let mut text = String::new();
    for word in line.split_whitespace() {
        for c in word.chars() {
            let digit = c.is_ascii_digit();
            if !(digit && text.ends_with('0')) {
                text.push(if digit { '0' } else { c });
            }
        }
        text.push(' ');
    }
    text.trim_end().to_owned()
}

/// With anything where the pattern has an ellipsis.
fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut open = false;
    for part in parts {
        open = part.is_empty();
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    open || rest.is_empty()
}
