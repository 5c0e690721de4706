//! XNAT's `xnat-conf.properties`: some settings get other values, and every other line stays as it is, byte by byte.

/// The text with these settings. One that stands there several times gets its value everywhere, since the last one counts;
/// one that does not comes at the end.
pub fn rewrite(text: &str, settings: &[(&str, String)]) -> String {
    let mut found = vec![false; settings.len()];
    let mut written = String::with_capacity(text.len() + 256);
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let Some(index) = key(line).and_then(|key| settings.iter().position(|(name, _)| *name == key)) else {
            written.push_str(line);
            // what goes on is part of it, whatever it looks like
            let mut last = line;
            while key(line).is_some() && goes_on(last) {
                match lines.next() {
                    Some(next) => last = next,
                    None => break,
                }
                written.push_str(last);
            }
            continue;
        };
        found[index] = true;
        let mut last = line;
        while goes_on(last) {
            match lines.next() {
                Some(next) => last = next,
                None => break,
            }
        }
        let (name, value) = &settings[index];
        written.push_str(&format!("{name}={}{}", escaped(value), ending(last)));
    }
    for (index, (name, value)) in settings.iter().enumerate() {
        if !found[index] {
            if !written.is_empty() && !written.ends_with('\n') {
                written.push('\n');
            }
            written.push_str(&format!("{name}={}\n", escaped(value)));
        }
    }
    written
}

/// What the first of these is set to, for people.
pub fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| key(line) == Some(name))?;
    let rest = line.trim_start().strip_prefix(name)?.trim_start();
    Some(rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start())
}

/// What a line sets; none of comments and blank lines.
fn key(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if line.starts_with(['#', '!']) {
        return None;
    }
    let end = line.find(|c: char| c == '=' || c == ':' || c.is_whitespace()).unwrap_or(line.len());
    (end > 0).then(|| &line[..end])
}

/// A value goes on in the next line after a backslash that stands for nothing else.
fn goes_on(line: &str) -> bool {
    let bare = line.trim_end_matches(['\n', '\r']);
    (bare.len() - bare.trim_end_matches('\\').len()) % 2 == 1
}

fn ending(line: &str) -> &str {
    if line.ends_with("\r\n") {
        "\r\n"
    } else if line.ends_with('\n') {
        "\n"
    } else {
        ""
    }
}

/// As `java.util.Properties` reads it: in Latin-1, with escapes, and without blanks at the beginning.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (index, c) in value.chars().enumerate() {
        match c {
            '\\' => text.push_str("\\\\"),
            ' ' if index == 0 => text.push_str("\\ "),
            c if c.is_ascii() && !c.is_ascii_control() => text.push(c),
            c => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# XNAT's database\r\n  datasource.url = jdbc:postgresql://localhost/xnat\r\n! old: datasource.url=x\n\
                          datasource.password:geh\\\n   eim\nother=a\\\\\ndatasource.url=again\nlast line";

    #[test]
    fn every_other_line_stays() {
        let settings = [
            ("datasource.url", "jdbc:postgresql://a,b/xnat?x=1&y=2".to_owned()),
            ("datasource.password", " p\\ä😀".to_owned()),
            ("datasource.username", "xnat".to_owned()),
        ];
        let url = "datasource.url=jdbc:postgresql://a,b/xnat?x=1&y=2";
        assert_eq!(
            rewrite(BEFORE, &settings),
            format!(
                "# XNAT's database\r\n{url}\r\n! old: datasource.url=x\ndatasource.password=\\ p\\\\\\u00e4\\ud83d\\ude00\n\
                 other=a\\\\\n{url}\nlast line\ndatasource.username=xnat\n"
            )
        );
        assert_eq!(rewrite("", &[("a", "b".to_owned())]), "a=b\n");
        assert_eq!(rewrite("x=1\\\na=2\na=3\n", &[("a", "b".to_owned())]), "x=1\\\na=2\na=b\n");
    }

    #[test]
    fn what_is_set_is_told() {
        assert_eq!(value(BEFORE, "datasource.url"), Some("jdbc:postgresql://localhost/xnat"));
        assert_eq!(value(BEFORE, "datasource.user"), None);
    }

    proptest::proptest! {
        #[test]
        fn settings_that_are_there_are_not_made_twice(value in "[ -~äé😀]{0,12}") {
            let once = rewrite(BEFORE, &[("datasource.url", value.clone())]);
            proptest::prop_assert_eq!(rewrite(&once, &[("datasource.url", value)]), once);
        }
    }
}
