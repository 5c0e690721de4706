//! `status --watch` on a terminal: the whole screen, and keys. Looking, connecting anew and drawing go on side by side, so
//! that a host that hangs holds up neither the keys nor what is seen of the others.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures::StreamExt;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::DefaultTerminal;
use tokio::sync::{Notify, mpsc};

use super::signals::Signals;
use super::{Connections, Failure, Form, Watcher, exit, out};
use crate::cluster::{ClusterView, Health};
use crate::engine::Fleet;
use crate::error::{Exit, Fails};
use crate::names::HostName;
use crate::report::look::Look;
use crate::screen::{Screen, Setting, Wish};

/// The age of the answer is told in seconds.
const TICK: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot use the terminal")]
#[diagnostic(
    code(xnat::status::terminal),
    help("without a screen one look is printed after the other: `xnat-provision status --watch | cat`")
)]
struct NoScreen(#[source] io::Error);

impl Fails for NoScreen {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// There is somebody to look and to press keys, and the terminal can put text anywhere.
pub fn is_possible() -> bool {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}

pub async fn watch((watcher, fleet): (&Watcher, &mut Fleet), every: Duration) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    // The first look comes before the screen, since it may have to ask for passwords. None are asked for later.
    let first = tokio::select! {
        seen = watcher.look(fleet) => seen,
        () = signals.end() => return Ok(Exit::Unreachable),
    };
    watcher.terminal.fall_silent();
    let hosts = RefCell::new(Hosts::of(std::mem::take(fleet)));
    let mut screen = Screen::new(setting(watcher, every), first, Timestamp::now());
    let (tell, told) = mpsc::channel(1);
    let at_once = Notify::new();
    let shown = tokio::select! {
        shown = show(&mut screen, (told, &at_once), &mut signals) => shown,
        never = look(watcher, &hosts, (&tell, &at_once), every) => match never {},
        never = dial(watcher, &hosts, every) => match never {},
    };
    fleet.connections = hosts.into_inner().connections;
    shown?;
    let (view, health) = screen.last();
    out::text(&watcher.document((view, health), Form::Text)?)?;
    Ok(exit(view, health))
}

fn setting(watcher: &Watcher, every: Duration) -> Setting {
    let redactor = watcher.terminal.redactor.clone();
    let glyphs = Look::of_terminal().glyphs;
    Setting { zone: TimeZone::system(), paint: out::look().paint, glyphs, every, redactor }
}

/// Of looks, to whoever draws.
enum News {
    Asking,
    Seen(Box<(ClusterView, Health)>),
}

/// The terminal in full-screen mode; as it was before when this is dropped. ratatui sees to that in a panic.
struct Terminal(DefaultTerminal);

impl Terminal {
    fn open() -> Result<Self, NoScreen> {
        let undo = |_: &io::Error| _ = ratatui::try_restore();
        ratatui::try_init().inspect_err(undo).map(Self).map_err(NoScreen)
    }

    fn draw(&mut self, screen: &Screen) -> Result<(), NoScreen> {
        let drawn = self.0.draw(|frame| screen.draw(Timestamp::now(), frame));
        drawn.map(drop).map_err(NoScreen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // a terminal that cannot be written to any more is gone: there is nothing to put right
        self.0.show_cursor().ok();
        ratatui::try_restore().ok();
    }
}

/// Draw what changes until somebody wants to leave.
async fn show(
    screen: &mut Screen,
    (mut told, at_once): (mpsc::Receiver<News>, &Notify),
    signals: &mut Signals,
) -> Result<(), NoScreen> {
    let mut terminal = Terminal::open()?;
    let mut events = EventStream::new();
    let mut tick = tokio::time::interval(TICK);
    loop {
        terminal.draw(screen)?;
        tokio::select! {
            Some(news) = told.recv() => match news {
                News::Asking => screen.asks(Timestamp::now()),
                News::Seen(seen) => screen.saw(*seen, Timestamp::now()),
            },
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) => match screen.press(key) {
                    Wish::Nothing => {}
                    Wish::Look => at_once.notify_one(),
                    Wish::Leave => return Ok(()),
                },
                // the next drawing asks for the size itself
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(NoScreen(error)),
                None => return Ok(()),
            },
            _ = tick.tick() => {}
            () = signals.end() => return Ok(()),
        }
    }
}

/// Whom can be asked, and why others cannot.
struct Hosts {
    connections: Connections,
    unreachable: BTreeMap<HostName, String>,
}

impl Hosts {
    fn of(fleet: Fleet) -> Self {
        Self { unreachable: fleet.reasons(), connections: fleet.connections }
    }

    /// A connection over which nothing could be asked is lost.
    fn forget_silent(&mut self, view: &ClusterView) {
        for (host, _) in self.connections.extract_if(.., |host, _| !view.heard_from(host)) {
            self.unreachable.insert(host, "the connection is lost".to_owned());
        }
    }

    /// What came of connecting to those hosts that had no connection.
    fn learn(&mut self, wanted: &[HostName], mut fleet: Fleet) {
        for host in wanted {
            if let Some(connection) = fleet.connections.remove(host) {
                self.unreachable.remove(host);
                self.connections.insert(host.clone(), connection);
            }
        }
        self.unreachable.extend(fleet.reasons());
    }
}

async fn look(
    watcher: &Watcher,
    hosts: &RefCell<Hosts>,
    (tell, at_once): (&mpsc::Sender<News>, &Notify),
    every: Duration,
) -> Infallible {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = at_once.notified() => {}
        }
        // Whoever draws ends both, so there is nobody left to miss this.
        tell.send(News::Asking).await.ok();
        let (connections, unreachable) = {
            let hosts = hosts.borrow();
            (hosts.connections.clone(), hosts.unreachable.clone())
        };
        let seen = watcher.ask(&connections, &unreachable).await;
        hosts.borrow_mut().forget_silent(&seen.0);
        tell.send(News::Seen(Box::new(seen))).await.ok();
    }
}

/// Connect to hosts without a connection again and again, apart from the looks: a silent one takes ten seconds.
async fn dial(watcher: &Watcher, hosts: &RefCell<Hosts>, every: Duration) -> Infallible {
    loop {
        let connections = hosts.borrow().connections.clone();
        let everybody = watcher.inventory.everybody().map(|host| &host.name);
        let wanted: Vec<HostName> = everybody.filter(|host| !connections.contains_key(*host)).cloned().collect();
        let mut fleet = Fleet { connections, ..Fleet::default() };
        fleet.connect(&watcher.inventory, watcher.dialer()).await;
        hosts.borrow_mut().learn(&wanted, fleet);
        tokio::time::sleep(every).await;
    }
}
