//! The lines at the bottom of a terminal that indicatif redraws, made to survive a change of the terminal's width.
//!
//! indicatif fills every line up with blanks and lets the terminal wrap, and counts lines when it goes back up. When
//! the window is made narrower meanwhile, terminals break those lines anew, so the count is wrong and pieces stay behind.
//! This stands between the two: it ends lines with a line feed, remembers their widths, and goes up by as many rows as
//! they take *now*. It relies on the order of indicatif's calls: up and clear, then text and filler for every line, flush.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

const ERASE_TO_END: &str = "\r\u{1b}[J";

#[derive(Debug)]
pub struct Region<T> {
    term: T,
    drawn: Mutex<Drawn>,
}

#[derive(Debug, Default)]
struct Drawn {
    /// The widths of the lines on the screen, as far as they are indicatif's.
    on_screen: Vec<usize>,
    /// The same for the lines of the drawing that is under way.
    coming: Vec<usize>,
    /// How far indicatif wants to go up.
    up: usize,
    erased: bool,
    filler_is_next: bool,
}

impl<T: TermLike> Region<T> {
    pub fn new(term: T) -> Self {
        Self { term, drawn: Mutex::default() }
    }

    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drawn {
    /// The rows from the cursor, at the end of the last line, to the first of the lines to be drawn again.
    fn rows_up(&self, columns: usize) -> usize {
        let again = &self.on_screen[self.on_screen.len().saturating_sub(self.up + 1)..];
        again.iter().map(|width| width.max(&1).div_ceil(columns.max(1))).sum::<usize>().saturating_sub(1)
    }
}

impl<T: TermLike> TermLike for Region<T> {
    fn width(&self) -> u16 {
        self.term.width()
    }

    fn height(&self) -> u16 {
        self.term.height()
    }

    fn move_cursor_up(&self, rows: usize) -> io::Result<()> {
        let mut drawn = self.drawn();
        if !drawn.erased {
            drawn.up = rows;
        }
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        let mut drawn = self.drawn();
        if drawn.erased {
            return Ok(());
        }
        drawn.erased = true;
        self.term.move_cursor_up(drawn.rows_up(self.term.width().into()))?;
        self.term.write_str(ERASE_TO_END)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut drawn = self.drawn();
        drawn.filler_is_next = !drawn.filler_is_next;
        if !drawn.filler_is_next {
            return Ok(());
        }
        if !drawn.coming.is_empty() {
            self.term.write_str("\r\n")?;
        }
        drawn.coming.push(console::measure_text_width(text));
        self.term.write_str(text)
    }

    fn flush(&self) -> io::Result<()> {
        let mut drawn = self.drawn();
        let coming = std::mem::take(&mut drawn.coming);
        *drawn = Drawn { on_screen: coming, ..Drawn::default() };
        self.term.flush()
    }

    fn move_cursor_down(&self, _rows: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.term.move_cursor_right(columns)
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.term.move_cursor_left(columns)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.term.write_line(text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    use super::*;

    /// A terminal of changeable width that writes down what it is told.
    #[derive(Clone, Debug, Default)]
    struct Narrowing {
        columns: Arc<AtomicU16>,
        told: Arc<Mutex<String>>,
    }

    impl Narrowing {
        fn tell(&self, text: &str) -> io::Result<()> {
            self.told.lock().expect("not poisoned").push_str(text);
            Ok(())
        }
    }

    impl TermLike for Narrowing {
        fn width(&self) -> u16 {
            self.columns.load(Ordering::Relaxed)
        }
        fn move_cursor_up(&self, rows: usize) -> io::Result<()> {
            self.tell(&format!("<up {rows}>"))
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            unreachable!()
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            unreachable!()
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            unreachable!()
        }
        fn write_line(&self, _: &str) -> io::Result<()> {
            unreachable!()
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.tell(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            unreachable!()
        }
        fn flush(&self) -> io::Result<()> {
            self.tell("\n--\n")
        }
    }

    #[test]
    fn lines_that_were_broken_anew_are_counted_anew() {
        let term = Narrowing::default();
        term.columns.store(40, Ordering::Relaxed);
        let target = indicatif::ProgressDrawTarget::term_like(Box::new(Region::new(term.clone())));
        let style = indicatif::ProgressStyle::with_template("{msg}").expect("a template");
        let bar = indicatif::ProgressBar::with_draw_target(None, target).with_style(style);
        bar.set_message(format!("{}\n{}\nshort", "a".repeat(30), "b".repeat(35)));
        bar.println("said above");
        term.columns.store(20, Ordering::Relaxed);
        bar.set_message("one\ntwo");
        term.columns.store(80, Ordering::Relaxed);
        bar.finish_and_clear();
        let told = term.told.lock().expect("not poisoned").replace(ERASE_TO_END, "<erase>");
        let drawings: Vec<&str> = told.split("\n--\n").collect();
        assert_eq!(drawings[0], format!("{}\r\n{}\r\nshort", "a".repeat(30), "b".repeat(35)));
        assert!(drawings[1].starts_with("<up 2><erase>said above\r\naaa"), "{}", drawings[1]);
        assert_eq!(drawings[2], "<up 4><erase>one\r\ntwo", "two lines take two rows each now");
        assert_eq!(drawings[3], "<up 1><erase>");
    }
}
