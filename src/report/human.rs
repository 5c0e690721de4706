//! For a terminal: what is finished scrolls up as permanent lines, what is going on stays below, redrawn by indicatif.
//! The live part is there only while a stage runs, so between stages a command may print and ask (see
//! [`super::Running::settle`]). Always standard error; replays go to standard output, without a live part.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};
use jiff::Timestamp;

use super::Renderer;
use super::event::{Event, Kind};
use super::frame::{Frame, Screen};
use super::lines::{Mark, Sentence, sentence};
use super::look::Look;
use super::region::Region;
use super::state::RunState;
use super::summary::summary;
use super::text::{fit, wrap};

/// How often the live part is drawn, at most.
const REFRESH_HZ: u8 = 20;

/// How often the spinners and clocks move when nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// Whether there is a live part.
#[derive(Clone, Copy)]
pub enum Motion {
    /// Drawn as time goes by.
    Live,
    /// Drawn at events only, at the time this clock tells: for snapshots.
    Stepped(fn() -> Timestamp),
    /// Permanent lines only: for replays.
    Still,
}

pub struct Human<T> {
    term: T,
    look: Look,
    motion: Motion,
    frame: Arc<Mutex<Frame>>,
    live: Option<ProgressBar>,
}

impl<T: TermLike + Clone + 'static> Human<T> {
    pub fn new(term: T, look: Look, motion: Motion) -> Self {
        Self { term, look, motion, frame: Arc::default(), live: None }
    }

    fn begin(&mut self) {
        let now = match self.motion {
            Motion::Live => Timestamp::now,
            Motion::Stepped(clock) => clock,
            Motion::Still => return,
        };
        let (term, look, frame) = (self.term.clone(), self.look, Arc::clone(&self.frame));
        // indicatif asks for the text whenever it draws, so it is never older than the screen's size.
        let text = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let screen = Screen { now: now(), columns: term.width().into(), rows: term.height().into() };
            let lines = frame.lock().unwrap_or_else(PoisonError::into_inner).lines(screen, look);
            // Writing into indicatif's buffer, a String, cannot fail.
            out.write_str(&lines.join("\n")).ok();
        };
        let style = ProgressStyle::default_spinner().with_key("frame", text);
        let Ok(style) = style.template("{frame}") else { return };
        let region = Box::new(Region::new(self.term.clone()));
        let target = match self.motion {
            Motion::Live => ProgressDrawTarget::term_like_with_hz(region, REFRESH_HZ),
            _ => ProgressDrawTarget::term_like(region),
        };
        let bar = ProgressBar::with_draw_target(None, target).with_style(style);
        if let Motion::Live = self.motion {
            bar.enable_steady_tick(TICK);
        }
        self.live = Some(bar);
    }

    fn end(&mut self) {
        if let Some(bar) = self.live.take() {
            bar.finish_and_clear();
        }
    }

    /// A line that stays.
    fn say(&self, line: &str) -> io::Result<()> {
        match &self.live {
            Some(bar) => bar.println(line),
            None => self.term.write_line(line).and_then(|()| self.term.flush())?,
        }
        Ok(())
    }

    fn tell(&self, event: &Event, said: &Sentence, state: &RunState) -> io::Result<()> {
        let widest = state.hosts.iter().map(|host| host.name.as_str().len()).max().unwrap_or(0);
        let who = event.host.as_ref().map(|host| format!("{host:<widest$}  ")).unwrap_or_default();
        let mut text = self.look.mark(said.mark);
        write!(text, " {who}{}", said.text).map_err(io::Error::other)?;
        let columns = self.columns();
        // A warning is said only here, so it is said in full; the rest is in the summary or the journal again.
        if said.mark != Mark::Warned {
            return self.say(&fit(&text.replace('\n', " "), columns, self.look.ellipsis()));
        }
        wrap(&text, columns, "    ").iter().try_for_each(|line| self.say(line))?;
        said.more.iter().flat_map(|more| more.lines()).try_for_each(|line| self.say(&format!("    {line}")))
    }

    /// One column stays free: terminals differ in what a full line does to the cursor.
    fn columns(&self) -> usize {
        usize::from(self.term.width()).saturating_sub(1)
    }
}

impl<T: TermLike + Clone + 'static> Renderer for Human<T> {
    fn event(&mut self, event: &Event, state: &RunState) -> io::Result<()> {
        if let Kind::StageFinished { .. } | Kind::RunFinished { .. } = event.kind {
            self.end();
        }
        *self.frame.lock().unwrap_or_else(PoisonError::into_inner) = Frame::of(state);
        if let Kind::StageStarted { .. } = event.kind {
            self.end();
            self.begin();
        }
        // Whoever starts a run knows what it is; whoever looks at an old one may not.
        let opening = matches!((&event.kind, self.motion), (Kind::RunStarted { .. }, Motion::Still));
        if (opening || stays(&event.kind))
            && let Some(said) = sentence(&event.kind, event.stage.as_deref(), state)
        {
            self.tell(event, &said, state)?;
        }
        if let Some(bar) = &self.live {
            bar.tick();
        }
        Ok(())
    }

    fn finish(&mut self, state: &RunState, journal: Option<&Path>) -> io::Result<()> {
        self.end();
        summary(state, journal, self.look, self.columns()).iter().try_for_each(|line| self.say(line))
    }
}

/// What is worth a line that stays on the screen.
fn stays(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::StageFinished { .. }
            | Kind::Warned { .. }
            | Kind::ChangeApplied { .. }
            | Kind::Failed { .. }
            | Kind::Interrupted
    )
}
