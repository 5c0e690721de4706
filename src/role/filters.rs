//! One quoting filter per syntax a template may have to write a value into. A value that the syntax cannot hold is an
//! error, never a broken file.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

use crate::quote;

/// What they are called, for those who mistyped one.
pub const NAMES: [&str; 10] = ["apt", "block", "deb822", "dotenv", "env", "haproxy", "hba", "shell", "unit", "yaml"];

/// Give an environment the filters.
pub fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("apt", apt);
    environment.add_filter("block", literal);
    environment.add_filter("dotenv", dotenv);
    environment.add_filter("env", env);
    environment.add_filter("haproxy", haproxy);
    environment.add_filter("hba", hba);
    environment.add_filter("shell", quote::sh);
    environment.add_filter("unit", unit);
    environment.add_filter("yaml", yaml);
    environment.add_filter("deb822", deb822);
}

fn one_line(value: &str, syntax: &str) -> Result<(), Error> {
    if value.chars().any(char::is_control) {
        let message = format!("{syntax} has no way to write a line break or a control character");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    Ok(())
}

/// A value of apt.conf, which knows no escapes at all.
fn apt(value: &str) -> Result<String, Error> {
    one_line(value, "apt.conf")?;
    if value.contains('"') {
        return Err(Error::new(ErrorKind::InvalidOperation, "apt.conf has no way to write a double quote"));
    }
    Ok(format!("\"{value}\""))
}

/// A value in a file read by systemd's `EnvironmentFile=`.
fn env(value: &str) -> Result<String, Error> {
    one_line(value, "an environment file")?;
    let escaped = value.chars().fold(String::new(), |mut all, letter| {
        if matches!(letter, '"' | '\\' | '`' | '$') {
            all.push('\\');
        }
        all.push(letter);
        all
    });
    Ok(format!("\"{escaped}\""))
}

/// A value in a file that docker compose reads: in single quotes it is taken as it is, but for the two characters that
/// would end or escape the quotes.
fn dotenv(value: &str) -> Result<String, Error> {
    one_line(value, "an environment file")?;
    if !value.contains(['\'', '\\']) {
        return Ok(format!("'{value}'"));
    }
    let escaped = value.replace('\\', r"\\").replace('"', "\\\"").replace('$', r"\$");
    Ok(format!("\"{escaped}\""))
}

/// A word in haproxy.cfg: strong quotes, as in a shell.
fn haproxy(value: &str) -> Result<String, Error> {
    one_line(value, "haproxy.cfg")?;
    Ok(quote::sh(value))
}

/// A name in pg_hba.conf; in quotes it is only ever a name, also `all` or `replication`.
fn hba(value: &str) -> Result<String, Error> {
    one_line(value, "pg_hba.conf")?;
    Ok(format!("\"{}\"", value.replace('"', "\"\"")))
}

/// A path or text in a unit file, where `%` begins a specifier.
fn unit(value: &str) -> Result<String, Error> {
    one_line(value, "a unit file")?;
    Ok(format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%")))
}

/// The lines of a text as the continuation lines of a deb822 field.
fn deb822(value: &str) -> String {
    let line = |line: &str| if line.trim().is_empty() { " .".to_owned() } else { format!(" {}", line.trim_end()) };
    value.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A whole value as a YAML block, indented, for those who read the file; scalars are JSON and so need no care.
fn yaml(value: &Value, indent: usize) -> Result<Value, Error> {
    let mut text = String::new();
    block(value, indent, &mut text)?;
    Ok(Value::from_safe_string(text))
}

/// A file's text in YAML as it is, line by line, for those who read it; as JSON where YAML has no such way to write it.
fn literal(text: &str, indent: usize) -> Result<Value, Error> {
    let awkward = |letter: char| letter != '\n' && (letter.is_control() || json_escapes(letter));
    let whole = text.ends_with('\n') && !text.ends_with("\n\n") && !text.starts_with([' ', '\n']);
    if !whole || text.contains(awkward) {
        return Ok(Value::from_safe_string(json(&Value::from(text))?));
    }
    let margin = " ".repeat(indent);
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("\n{margin}{line}") };
    Ok(Value::from_safe_string("|".to_owned() + &text.lines().map(line).collect::<String>()))
}

fn block(value: &Value, indent: usize, text: &mut String) -> Result<(), Error> {
    let margin = " ".repeat(indent);
    let empty = value.len() == Some(0);
    match value.kind() {
        ValueKind::Map if !empty => {
            for key in value.try_iter()? {
                let inner = value.get_item(&key)?;
                text.push_str(&format!("\n{margin}{}:", name(&key)?));
                block(&inner, indent + 2, text)?;
            }
        }
        ValueKind::Seq if !empty => {
            for inner in value.try_iter()? {
                text.push_str(&format!("\n{margin}- {}", json(&inner)?));
            }
        }
        _ => text.push_str(&format!(" {}", json(value)?)),
    }
    Ok(())
}

/// A key: bare where it cannot be taken for anything else.
fn name(key: &Value) -> Result<String, Error> {
    let bare = |text: &str| {
        // YAML 1.1, which Patroni's parser speaks, takes these for booleans and null.
        let word = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"].contains(&text);
        !word && text.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_') && !text.is_empty()
    };
    match key.as_str() {
        Some(text) if bare(text) => Ok(text.to_owned()),
        _ => json(key),
    }
}

/// A value as JSON that is YAML too: YAML 1.1 refuses some control characters and folds some line breaks that JSON
/// lets through.
pub fn json(value: &Value) -> Result<String, Error> {
    let plain = serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, "unable to write as JSON").with_source(error))?;
    Ok(plain.chars().fold(String::new(), |mut all, letter| {
        if json_escapes(letter) {
            all.push_str(&format!("\\u{:04x}", u32::from(letter)))
        } else {
            all.push(letter)
        }
        all
    }))
}

fn json_escapes(letter: char) -> bool {
    matches!(letter, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use minijinja::value::Serde;

    use super::*;

    #[test]
    fn every_syntax_quotes_what_is_special_to_it() {
        let nasty = r#"a b:#"'{}%$`\"#;
        assert_eq!(env(nasty).unwrap_or_default(), r#""a b:#\"'{}%\$\`\\""#);
        assert_eq!(haproxy(nasty).unwrap_or_default(), r#"'a b:#"'\''{}%$`\'"#);
        assert_eq!(unit(nasty).unwrap_or_default(), r#""a b:#\"'{}%%$`\\""#);
        assert_eq!(hba(nasty).unwrap_or_default(), r#""a b:#""'{}%$`\""#);
        assert_eq!(apt("http://proxy:3128").unwrap_or_default(), "\"http://proxy:3128\"");
        assert!(apt(nasty).is_err(), "apt.conf cannot hold a double quote");
        assert_eq!(dotenv("a b:#\"$x").unwrap_or_default(), "'a b:#\"$x'");
        assert_eq!(dotenv(nasty).unwrap_or_default(), r#""a b:#\"'{}%\$`\\""#);
        assert!(haproxy("two\nlines").is_err(), "a line break would begin a new directive");
    }

    #[test]
    fn yaml_is_a_block_with_json_scalars() {
        let value = Value::from(Serde(serde_json::json!({"a": {"b": "x: y", "c": true}, "d": [1, "two"], "e": {}})));
        let text = yaml(&value, 2).map(|text| text.to_string()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            ["", "  a:", "    b: \"x: y\"", "    c: true", "  d:", "    - 1", "    - \"two\"", "  e: {}"]
        );
        // What a parser would read as a boolean or a number stays a text.
        let text = |text: &str| literal(text, 2).map(|text| text.to_string()).unwrap_or_default();
        assert_eq!(text("a: 1\n\n b\n"), "|\n  a: 1\n\n   b");
        assert_eq!(text(" a\n"), "\" a\\n\"", "what begins with a blank would need to say how far it is indented");
        assert_eq!(text("a\tb\n"), "\"a\\tb\\n\"");
        let keys = Value::from(Serde(serde_json::json!({"on": 1, "7": 2})));
        let text = yaml(&keys, 0).map(|text| text.to_string()).unwrap_or_default();
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["\"7\": 2", "\"on\": 1"]);
    }
}
