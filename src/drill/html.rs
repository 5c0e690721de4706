//! The report for the folder: one file, without anything from elsewhere, which prints well.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};

use super::fault::Fault;
use super::figures::Spread;
use super::svg::svg;
use super::text::measured;
use super::verdict::{Drill, seconds};

/// The page; its data is attached to it.
pub fn page(drill: &Drill) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("report", include_str!("report.html.j2"))?;
    let cell = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), seconds);
    let rows: Vec<_> = measured(drill)
        .into_iter()
        .map(|(name, spread): (&str, Option<Spread>)| {
            let spread = [spread.map(|it| it.least), spread.map(|it| it.median), spread.map(|it| it.most)];
            context! { name, cells => spread.map(cell) }
        })
        .collect();
    let runs: Vec<_> = drill.runs.iter().map(|run| context! {
        picture => svg(&run.recording),
        figures => Value::from(Serde(&run.figures)),
        notes => run.recording.notes.iter().map(|note| (seconds(note.at), note.text.clone())).collect::<Vec<_>>(),
        errors => run.recording.errors.iter().take(20).map(|note| (seconds(note.at), note.text.clone())).collect::<Vec<_>>(),
        more_errors => run.recording.errors.len().saturating_sub(20),
    }).collect();
    let fault: Fault = drill.drill;
    // `</` would end the element it stands in
    let data = serde_json::to_string(drill)
        .map_err(|error| minijinja::Error::new(minijinja::ErrorKind::BadSerialization, error.to_string()))?
        .replace("</", "<\\/");
    environment.get_template("report")?.render(context! {
        drill => context! { passed => drill.passed, setting => Value::from(Serde(&drill.setting)), findings => Value::from(Serde(&drill.findings)) },
        rows, runs, data,
        name => fault.name(),
        injection => fault.injection(),
        effect => fault.effect(),
        undo => fault.undo(),
        bound => drill.bound.as_ref().map(|bound| (seconds(bound.millis), bound.formula.clone())),
        started => drill.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        finished => drill.finished.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    })
}
