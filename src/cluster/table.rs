//! A view and its judgement as text for people: the verdict first, then what to try, then the tables. Pure.

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use console::Style;

use super::assess::{Health, Problem, Severity};
use super::grid::{self, Grid, Mood};
use super::view::ClusterView;

/// How to draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Of the terminal; none does not wrap.
    pub width: Option<u16>,
    pub paint: Paint,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    #[default]
    Plain,
    Colour,
}

/// Everything, ending in a newline.
pub fn render(view: &ClusterView, health: &Health, look: Look) -> String {
    let mut text = format!("{}\n", paint(&health.verdict, mood(health), look));
    for problem in &health.problems {
        text.push_str(&told(problem, look));
    }
    let grids = [("PostgreSQL", grid::members(view)), ("etcd", grid::etcd(view)), ("HAProxy", grid::haproxy(view))];
    for (title, grid) in grids {
        if !grid.rows.is_empty() {
            text.push_str(&format!("\n{title}\n{}\n", drawn(grid, look).trim_fmt()));
        }
    }
    text
}

/// Hide columns until the table fits; what is still too wide then is wrapped.
fn drawn(grid: Grid, look: Look) -> Table {
    let grid = match look.width {
        Some(width) => grid.narrowed(width.into()),
        None => grid,
    };
    let mut table = plain(look);
    table.set_header(&grid.header);
    for row in grid.rows {
        table.add_row(row.into_iter().map(|one| match colour(one.mood) {
            Some(colour) => cell(one.text, colour),
            None => Cell::new(one.text),
        }));
    }
    table
}

fn colour(mood: Mood) -> Option<Color> {
    match mood {
        Mood::Plain => None,
        Mood::Good => Some(Color::Green),
        Mood::Odd => Some(Color::Yellow),
        Mood::Bad => Some(Color::Red),
    }
}

fn mood(health: &Health) -> Color {
    match health.problems.first().map(|p| p.severity) {
        Some(Severity::Critical) => Color::Red,
        Some(Severity::Warning) => Color::Yellow,
        Some(Severity::Notice) | None => Color::Green,
    }
}

fn told(problem: &Problem, look: Look) -> String {
    let color = match problem.severity {
        Severity::Critical => Color::Red,
        Severity::Warning => Color::Yellow,
        Severity::Notice => Color::Cyan,
    };
    let mut table = plain(look);
    table.add_row([
        cell(problem.severity.word(), color),
        Cell::new(format!("{}\nhelp: {}", problem.text, problem.help)),
    ]);
    format!("{}\n", table.trim_fmt())
}

fn plain(look: Look) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    match look.width {
        Some(width) => table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    match look.paint {
        Paint::Colour => table.enforce_styling(),
        Paint::Plain => table.force_no_tty(),
    };
    table
}

fn cell(text: impl ToString, color: Color) -> Cell {
    Cell::new(text.to_string()).fg(color)
}

fn paint(text: &str, colour: Color, look: Look) -> String {
    let style = match colour {
        Color::Red => Style::new().red().bold(),
        Color::Yellow => Style::new().yellow(),
        _ => Style::new().green(),
    };
    match look.paint {
        Paint::Colour => style.force_styling(true).apply_to(text).to_string(),
        Paint::Plain => text.to_owned(),
    }
}
