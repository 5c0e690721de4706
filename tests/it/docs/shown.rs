//! What a document shows of a session: commands after `$`, and below each what it printed, with `…` for what is left out
//! or varies. Used by the quick tests for what needs no host, and by `tests/e2e/tutorial.rs` for the tutorial.

/// A command that is shown, and what of its output.
#[derive(Clone, Debug)]
pub struct Shown {
    /// `xnat-provision`, then its words.
    pub words: Vec<String>,
    /// As a comment behind the command says (`# status 4`); otherwise it is 0.
    pub status: i32,
    /// What it asks, to be answered with yes.
    pub question: Option<String>,
    pub lines: Vec<String>,
}

/// The commands of this program in a fence.
pub fn of_fence(text: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for line in text.lines() {
        let Some(typed) = line.strip_prefix("$ ") else {
            let Some(shown) = all.last_mut() else { continue };
            match line.split_once(" [y/N]") {
                Some((question, _)) => shown.question = Some(question.to_owned()),
                None => shown.lines.push(line.to_owned()),
            }
            continue;
        };
        let (command, comment) = typed.split_once(" #").unwrap_or((typed, ""));
        let words: Vec<String> = words(command).into_iter().skip_while(|word| word == "sudo").collect();
        let status = comment.trim().strip_prefix("status ").map_or(0, |number| number.parse().expect("a number"));
        all.push(Shown { words, status, question: None, lines: Vec::new() });
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
    /// The line that was shown and not printed, if there is one.
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

const UNITS: [&str; 9] = ["ms", "s", "min", "h", "B", "kB", "MB", "GB", "%"];

/// A line with every gap the same, and every figure that no two runs have in common. Counts stay, and so do the digits of
/// names: they say who leads, and how many follow.
fn alike(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let one = |(at, word): (usize, &&str)| {
        let figure = bare(word);
        let next = words.get(at + 1).map_or("", |next| bare(next));
        if varies(figure, next) { word.replace(figure, "0") } else { (*word).to_owned() }
    };
    words.iter().enumerate().map(one).collect::<Vec<_>>().join(" ")
}

fn bare(word: &str) -> &str {
    word.trim_matches(['(', ')', ',', ';', ':', '.'])
}

/// A figure with a unit, a time of day, or a version.
fn varies(word: &str, next: &str) -> bool {
    let unit = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let measured = unit.len() < word.len() && UNITS.contains(if unit.is_empty() { &next } else { &unit });
    let parts: Vec<&str> = word.split(['.', ':']).collect();
    let digits = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    measured || ((2..=3).contains(&parts.len()) && parts.iter().all(digits))
}

/// With anything where the pattern has an ellipsis.
pub fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
