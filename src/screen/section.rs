//! Parts of the picture as lines: a title with a rule, rows of a grid.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::Setting;
use crate::cluster::grid::{Cell, Grid, Mood};
use crate::cluster::table::Paint;
use crate::report::look::Glyphs;

impl Setting {
    pub fn style(&self, mood: Mood) -> Style {
        let colour = match mood {
            Mood::Plain => return Style::new(),
            Mood::Good => Color::Green,
            Mood::Odd => Color::Yellow,
            Mood::Bad => Color::Red,
        };
        match self.paint {
            Paint::Colour => Style::new().fg(colour),
            Paint::Plain => Style::new(),
        }
    }

    /// `── etcd ───────`
    pub fn title(&self, text: &str, width: usize) -> Line<'static> {
        let rule = if self.glyphs == Glyphs::Unicode { "─" } else { "-" };
        let rest = width.saturating_sub(console::measure_text_width(text) + 4);
        Line::from(vec![
            Span::from(rule.repeat(2)).style(dim()),
            Span::from(format!(" {text} ")).style(bold()),
            Span::from(rule.repeat(rest)).style(dim()),
        ])
    }

    /// The header and a line for each row.
    pub fn table(&self, grid: &Grid, width: usize) -> Vec<Line<'static>> {
        let grid = grid.clone().narrowed(width);
        let widths: Vec<usize> = (0..grid.header.len()).map(|column| grid.width(column)).collect();
        let header = grid.header.iter().zip(&widths).map(|(name, width)| Span::from(padded(name, *width)).style(dim()));
        let cell = |(cell, width): (&Cell, &usize)| Span::from(padded(&cell.text, *width)).style(self.style(cell.mood));
        let rows = grid.rows.iter().map(|row| row.iter().zip(&widths).map(cell).collect());
        std::iter::once(header.collect()).chain(rows).collect()
    }
}

fn padded(text: &str, width: usize) -> String {
    console::pad_str(&format!(" {text}"), width, console::Alignment::Left, None).into_owned()
}

pub fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

pub fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}
