//! The full screen of `status --watch` from recordings, as a terminal in memory shows it.

use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use xnat_provision::cluster::table::Paint;
use xnat_provision::cluster::{ClusterView, Health};
use xnat_provision::report::look::Glyphs;
use xnat_provision::report::{Redactor, Registration};
use xnat_provision::screen::{Screen, Setting, Wish};
use xnat_provision::secret::Secret;

use super::played::{Hosts, recording};

fn setting() -> Setting {
    Setting {
        zone: TimeZone::UTC,
        paint: Paint::Colour,
        glyphs: Glyphs::Unicode,
        every: Duration::from_secs(2),
        redactor: Redactor::default(),
    }
}

/// Seconds after the first look.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

async fn seen(name: &str, without: &[&str]) -> (ClusterView, Health) {
    let recording = Arc::new(recording(name));
    Hosts::new(&recording).without(without).look(&recording).await
}

fn drawn(screen: &Screen, now: Timestamp, (width, height): (u16, u16)) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    terminal.draw(|frame| screen.draw(now, frame)).expect("it draws");
    terminal
}

/// As text, without the blanks at the ends of lines.
fn picture(screen: &Screen, now: Timestamp, size: (u16, u16)) -> String {
    let terminal = drawn(screen, now, size);
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(size.0.into()).map(|cells| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Pictures are too large to stand in the tests: they are in `tests/fixtures/status/screen/`.
fn is_as_kept(name: &str, shown: &str) {
    insta::with_settings!({ snapshot_path => "../../fixtures/status/screen", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, shown);
    });
}

/// A leader that is killed, and a replica that takes over.
async fn failover() -> Screen {
    let mut screen = Screen::new(setting(), seen("bookworm-healthy", &[]).await, at(0));
    screen.saw(seen("bookworm-leader-killed", &[]).await, at(10));
    screen.saw(seen("bookworm-failed-over", &[]).await, at(40));
    screen
}

fn press(screen: &mut Screen, code: KeyCode) -> Wish {
    screen.press(KeyEvent::from(code))
}

#[tokio::test]
async fn a_healthy_cluster() {
    let screen = Screen::new(setting(), seen("trixie-healthy", &[]).await, at(0));
    is_as_kept("healthy-100x30", &picture(&screen, at(1), (100, 30)));
}

#[tokio::test]
async fn a_failover_as_it_went_on() {
    let screen = failover().await;
    is_as_kept("failover-140x40", &picture(&screen, at(41), (140, 40)));
}

#[tokio::test]
async fn a_small_terminal_has_the_verdict_the_members_and_what_happened_last() {
    let mut screen = Screen::new(setting(), seen("trixie-healthy", &[]).await, at(0));
    screen.saw(seen("trixie-etcd-no-quorum", &["db1"]).await, at(10));
    screen.asks(at(12));
    is_as_kept("no-quorum-60x20", &picture(&screen, at(25), (60, 20)));
    for size in [(1, 1), (10, 3), (30, 8), (300, 100)] {
        picture(&screen, at(25), size);
    }
}

#[tokio::test]
async fn nothing_can_be_asked() {
    let screen = Screen::new(setting(), seen("trixie-healthy", &["db1", "db2", "db3", "lb1"]).await, at(0));
    is_as_kept("blind-100x30", &picture(&screen, at(0), (100, 30)));
}

#[tokio::test]
async fn keys_scroll_explain_ask_and_leave() {
    let mut screen = failover().await;
    let first = |screen: &Screen| {
        let text = picture(screen, at(41), (100, 30));
        text.lines().skip_while(|line| !line.contains(" Events")).take(2).collect::<Vec<_>>().join("\n")
    };
    is_as_kept("events-newest", &first(&screen));
    assert_eq!(press(&mut screen, KeyCode::Down), Wish::Nothing);
    is_as_kept("events-scrolled", &first(&screen));
    let event = |screen: &Screen| first(screen).lines().last().map(str::to_owned);
    let read = event(&screen);
    screen.saw(seen("bookworm-healthy", &[]).await, at(50));
    assert_eq!(event(&screen), read, "what one reads stays in view");
    press(&mut screen, KeyCode::End);
    is_as_kept("events-oldest", &first(&screen));
    press(&mut screen, KeyCode::Home);
    press(&mut screen, KeyCode::Char('?'));
    is_as_kept("help-60x14", &picture(&screen, at(51), (60, 14)));
    assert_eq!(press(&mut screen, KeyCode::Esc), Wish::Nothing, "it closes the help first");
    assert_eq!(press(&mut screen, KeyCode::Char('r')), Wish::Look);
    assert_eq!(press(&mut screen, KeyCode::Char('c')), Wish::Nothing);
    assert_eq!(screen.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Wish::Leave);
    for leaves in [KeyCode::Char('q'), KeyCode::Esc] {
        assert_eq!(press(&mut screen, leaves), Wish::Leave);
    }
}

#[tokio::test]
async fn colours_only_where_they_are_wanted_and_ascii_where_it_must_be() {
    let broken = seen("bookworm-leader-killed", &[]).await;
    let coloured = |paint| {
        let screen = Screen::new(Setting { paint, ..setting() }, broken.clone(), at(0));
        let terminal = drawn(&screen, at(60), (100, 30));
        terminal.backend().buffer().content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(coloured(Paint::Colour) && !coloured(Paint::Plain));
    let screen = Screen::new(Setting { glyphs: Glyphs::Ascii, ..setting() }, broken, at(0));
    assert!(picture(&screen, at(1), (100, 30)).is_ascii());
}

#[tokio::test]
async fn what_hosts_say_is_cleaned() {
    let redactor = Redactor::default();
    assert_eq!(redactor.register(&Secret::new("planted-password")), Registration::Masked);
    let (mut view, mut health) = seen("trixie-healthy", &[]).await;
    health.verdict = "the verdict names planted-password".to_owned();
    let mut screen = Screen::new(Setting { redactor, ..setting() }, (view.clone(), health.clone()), at(0));
    view.unreachable.insert("db1".into(), "said \u{1b}[31mplanted-password".to_owned());
    view.members[0].listed.as_mut().expect("a member").state = "planted-password".to_owned();
    screen.saw((view, health), at(1));
    let text = picture(&screen, at(2), (140, 40));
    assert!(!text.contains("planted") && !text.contains("[31m") && text.contains("said ***"), "{text}");
}
