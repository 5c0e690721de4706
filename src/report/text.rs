//! Words and widths: plurals, durations, what fits in a line, and what of a command's output may reach a terminal.

use std::borrow::Cow;

use console::measure_text_width;

/// How much that is, for people.
pub fn mebibytes(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20),
    }
}

/// "1 change", "12 changes", "no changes".
pub fn count(number: usize, noun: &str) -> String {
    match number {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// "0.3 s", "41 s", "2 min 5 s", "1 h 2 min".
pub fn duration(millis: u64) -> String {
    let seconds = (millis + 500) / 1000;
    match seconds {
        _ if millis < 9_950 => format!("{}.{} s", (millis + 50) / 1000, (millis + 50) % 1000 / 100),
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// "00:12", "1:02:03".
pub fn clock(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds / 3600 {
        0 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// Cut to `width` columns, with a mark where something is missing. Knows about wide characters and colours.
pub fn fit<'a>(text: &'a str, width: usize, ellipsis: &str) -> Cow<'a, str> {
    if measure_text_width(text) <= width { Cow::Borrowed(text) } else { console::truncate_str(text, width, ellipsis) }
}

/// Broken between words into lines of at most `width` columns; what follows the first line is set in by `indent`.
pub fn wrap(text: &str, width: usize, indent: &str) -> Vec<String> {
    // Only between words: what is cut at a hyphen or in a path cannot be searched for or copied.
    let options = textwrap::Options::new(width.max(indent.len() + 20))
        .subsequent_indent(indent)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .break_words(false);
    let mut lines = text.lines();
    let first = textwrap::wrap(lines.next().unwrap_or_default(), &options);
    let rest = lines.flat_map(|line| textwrap::wrap(line, options.clone().initial_indent(indent)));
    first.into_iter().chain(rest).map(Cow::into_owned).collect()
}

/// The text as a terminal would show it at the end: without escape sequences and control characters, and with only the
/// last of the texts that carriage returns wrote over each other. Other machines' output must not steer ours.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let bare = console::strip_ansi_codes(text);
    let lines = bare.split('\n').map(|line| {
        let last = line.split('\r').rfind(|part| !part.trim().is_empty()).unwrap_or_default();
        last.chars().filter(|&c| !steers(c)).collect::<String>()
    });
    Cow::Owned(lines.collect::<Vec<_>>().join("\n"))
}

/// A text whose places are pointed at: what would steer a terminal is replaced byte for byte, so the places stay right.
pub fn in_place(text: &str) -> String {
    let shown = |c: char| match steers(c) {
        true => "?".repeat(c.len_utf8()),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// Control characters, and the invisible ones that turn the direction of writing around.
fn steers(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_agree_with_their_noun() {
        assert_eq!([0, 1, 2].map(|n| count(n, "change")), ["no changes", "1 change", "2 changes"]);
    }

    #[test]
    fn durations_are_as_long_as_they_need_to_be() {
        let shown = [0, 40, 300, 9_949, 9_950, 41_200, 59_600, 125_000, 3_725_000].map(duration);
        assert_eq!(shown, ["0.0 s", "0.0 s", "0.3 s", "9.9 s", "10 s", "41 s", "1 min 0 s", "2 min 5 s", "1 h 2 min"]);
        assert_eq!([12_999, 3_723_000].map(clock), ["00:12", "1:02:03"]);
    }

    #[test]
    fn output_cannot_steer_the_terminal() {
        assert_eq!(printable("plain\ttext\nof lines"), "plain\ttext\nof lines");
        assert_eq!(printable("\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}"), "red ");
        assert_eq!(printable("10 %\r50 %\r100 %\r"), "100 %");
        assert_eq!(printable("windows\r\nlines\r"), "windows\nlines");
        assert_eq!(printable("a\u{202e}b\u{8}c"), "abc");
        assert_eq!(in_place("a\u{202e}b\u{8}c\n"), "a???b?c\n");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(fit("Wait for the quorum", 10, "…"), "Wait for …");
        assert_eq!(fit("数据库数据库", 7, "…"), "数据库…");
        assert_eq!(fit("short", 10, "…"), "short");
    }
}
