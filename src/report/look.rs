//! Colours and marks. A mark is never only a colour: each has a shape and stands beside a word.

use console::Style;

use super::lines::Mark;

/// What the reader's screen can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub colour: Colour,
    pub glyphs: Glyphs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyphs {
    Unicode,
    Ascii,
}

impl Look {
    /// For logs: no colour, and the same characters wherever the log is read.
    pub const PLAIN: Self = Self { colour: Colour::Off, glyphs: Glyphs::Ascii };

    /// For a terminal, as its environment says: `NO_COLOR`, `CLICOLOR`, `TERM`, and the character set of the locale.
    pub fn of_terminal() -> Self {
        let colour = if console::colors_enabled_stderr() { Colour::On } else { Colour::Off };
        // The order in which POSIX looks for the character set; the first that is set decides.
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
        let utf8 = locale.is_some_and(|l| l.to_ascii_uppercase().replace('-', "").contains("UTF8"));
        Self { colour, glyphs: if utf8 { Glyphs::Unicode } else { Glyphs::Ascii } }
    }

    pub fn mark(self, mark: Mark) -> String {
        let unicode = self.glyphs == Glyphs::Unicode;
        let glyph = match mark {
            Mark::None => " ",
            Mark::Ok => {
                if unicode {
                    "✓"
                } else {
                    "+"
                }
            }
            Mark::Changed => "~",
            Mark::Warned => "!",
            Mark::Failed => {
                if unicode {
                    "✗"
                } else {
                    "x"
                }
            }
        };
        self.paint(glyph, mark)
    }

    /// The text in the colour of a mark.
    pub fn paint(self, text: &str, mark: Mark) -> String {
        let style = match mark {
            Mark::None => return text.to_owned(),
            Mark::Ok => Style::new().green(),
            Mark::Changed => Style::new().cyan(),
            Mark::Warned => Style::new().yellow(),
            Mark::Failed => Style::new().red().bold(),
        };
        self.styled(text, style)
    }

    pub fn bold(self, text: &str) -> String {
        self.styled(text, Style::new().bold())
    }

    pub fn dim(self, text: &str) -> String {
        self.styled(text, Style::new().dim())
    }

    /// A turning wheel; `step` counts up.
    pub fn spinner(self, step: u64) -> char {
        let wheel: &[char] = match self.glyphs {
            Glyphs::Unicode => &['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'],
            Glyphs::Ascii => &['|', '/', '-', '\\'],
        };
        wheel[usize::try_from(step).unwrap_or(0) % wheel.len()]
    }

    /// Stands where something was cut off.
    pub fn ellipsis(self) -> &'static str {
        if self.glyphs == Glyphs::Unicode { "…" } else { "..." }
    }

    /// Between what a host does and what it says about it.
    pub fn separator(self) -> &'static str {
        if self.glyphs == Glyphs::Unicode { " · " } else { " - " }
    }

    fn styled(self, text: &str, style: Style) -> String {
        style.force_styling(self.colour == Colour::On).apply_to(text).to_string()
    }
}
