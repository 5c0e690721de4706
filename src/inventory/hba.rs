//! Lines of `pg_hba.conf` that an inventory adds.

/// Blanks part its fields, but not inside double quotes; what comes after a `#` is said to people.
pub fn fields(line: &str) -> Vec<String> {
    let line = line.split_once('#').map_or(line, |(before, _)| before);
    let mut quoted = false;
    let split = line.split(|c: char| {
        quoted ^= c == '"';
        c.is_whitespace() && !quoted
    });
    split.filter(|field| !field.is_empty()).map(str::to_owned).collect()
}
