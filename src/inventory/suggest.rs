//! Did you mean …?

/// The known name that is most like the one given, if any is near enough to be a slip of the finger.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(given);
    let scored = known.into_iter().map(|name| (strsim::jaro_winkler(&folded, &fold(name)), name));
    let (score, name) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    let distance = strsim::damerau_levenshtein(&folded, &fold(name));
    // One slip in a short name, a third of a long one; Jaro-Winkler alone finds everything similar to everything.
    (score > 0.7 && distance <= (folded.len() / 3).max(1)).then_some(name)
}

fn fold(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let known = ["address", "name", "roles", "ttl", "loop_wait", "retry_timeout"];
        assert_eq!(nearest("adress", known), Some("address"));
        assert_eq!(nearest("Loop-Wait", known), Some("loop_wait"));
        assert_eq!(nearest("tll", known), Some("ttl"));
        assert_eq!(nearest("role", known), Some("roles"));
        assert_eq!(nearest("password", known), None);
        assert_eq!(nearest("ip", known), None);
    }
}
