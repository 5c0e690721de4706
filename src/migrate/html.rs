//! The report for the archive: one file, without anything from elsewhere, which prints well.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};

use super::record::Record;
use crate::report::text::{duration, mebibytes};

/// The page; its data is attached to it.
pub fn page(record: &Record) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("report", include_str!("report.html.j2"))?;
    let tables: Vec<_> = record
        .sums
        .source
        .tables
        .iter()
        .map(|(name, source)| {
            let target = record.sums.target.tables.get(name);
            context! {
                name,
                source => source.rows,
                target => target.map_or_else(|| "–".to_owned(), |target| target.rows.to_string()),
                sum => source.sum.clone(),
                same => target == Some(source),
            }
        })
        .collect();
    let phases: Vec<_> = record
        .phases
        .iter()
        .map(|phase| (phase.name.clone(), duration(phase.millis), if phase.beside { "" } else { "nobody can write" }))
        .collect();
    let standstill =
        (record.goes_on_beside() && !record.cut_off && !record.open).then(|| duration(record.standstill()));
    // `</` would end the element it stands in
    let data = serde_json::to_string(record)
        .map_err(|error| minijinja::Error::new(minijinja::ErrorKind::BadSerialization, error.to_string()))?
        .replace("</", "<\\/");
    environment.get_template("report")?.render(context! {
        record => Value::from(Serde(record)),
        verdict => record.verdict(),
        compared => record.compared(),
        bytes => mebibytes(record.bytes),
        total => duration(record.millis()),
        started => record.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        finished => record.finished.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        tables, phases, standstill, data,
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::page;

    #[test]
    fn when_nobody_can_write_is_told_where_that_is_not_all_the_time() {
        let mut record = record();
        assert!(!page(&record).expect("a page").contains("nobody can write"));
        record.phases[0].beside = true;
        record.sums.source.hashed = true;
        let page = page(&record).expect("a page");
        assert!(page.contains("nobody can write for 1 min 1 s of it") && page.contains("hashtextextended"), "{page}");
    }

    #[test]
    fn odd_names_end_no_element() {
        let page = page(&record()).expect("a page");
        assert!(page.contains("FAILED") && page.contains("xdat_user"));
        assert_eq!(page.matches("</script>").count(), 1, "the data's own end");
        assert!(page.contains("a &lt;b&gt;"));
    }
}
