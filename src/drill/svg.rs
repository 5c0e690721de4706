//! One run as a picture: what clients got, second by second, above who was what.

use super::record::{Recording, Role, Span};
use super::verdict::seconds;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 15.0;
const BARS: f64 = 110.0;
const LANE: f64 = 22.0;
const TOP: f64 = 40.0;

/// A picture is texts and numbers; what is not ours in it are names of hosts, which cannot be markup.
pub fn svg(seen: &Recording) -> String {
    let length = seen.ended.max(1) as f64;
    let scale = Scale { per_milli: (WIDTH - LEFT - RIGHT) / length };
    let lanes = 2 + seen.servers.len() + seen.balancers.len();
    let height = TOP + BARS + 30.0 + LANE * lanes as f64 + 25.0;
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"what clients got, and who was what\">\n"
    );
    out.push_str(&bars(seen, scale));
    let mut y = TOP + BARS + 30.0;
    out.push_str(&label(y, "errors"));
    for note in &seen.errors {
        out.push_str(&format!(
            "<rect class=\"error\" x=\"{:.1}\" y=\"{:.1}\" width=\"2\" height=\"14\"/>\n",
            scale.x(note.at),
            y - 11.0
        ));
    }
    y += LANE;
    out.push_str(&lane("leader lock", y, &seen.lock, scale, |lock| match &lock.0 {
        Some(host) => ("lock", host.to_string()),
        None => ("none", "nobody".to_owned()),
    }));
    for (host, spans) in &seen.servers {
        y += LANE;
        out.push_str(&lane(host.as_str(), y, spans, scale, |server| match server.role {
            Role::Writable => ("writable", "takes writes".to_owned()),
            Role::Replica => ("replica", "replica".to_owned()),
            Role::Silent => ("silent", "no answer".to_owned()),
        }));
    }
    for (host, spans) in &seen.balancers {
        y += LANE;
        let name = format!("HAProxy {host}");
        out.push_str(&lane(&name, y, spans, scale, |balancer| match balancer.0.as_slice() {
            [] => ("none", "nobody".to_owned()),
            some => ("route", some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        }));
    }
    let marks = [("fault", Some(seen.injected)), ("undone", seen.undone), ("well", seen.healed)];
    for (index, (name, at)) in marks.into_iter().enumerate() {
        let Some(at) = at else { continue };
        let x = scale.x(at);
        // a word that would not fit ends at its line instead
        let anchor = if x > WIDTH - 90.0 { "end" } else { "start" };
        out.push_str(&format!(
            "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/><text class=\"mark\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{name} {}</text>\n",
            TOP - 10.0, height - 20.0, 12.0 + 11.0 * index as f64, seconds(at)
        ));
    }
    out.push_str(&axis(seen.ended, height, scale));
    out.push_str("</svg>\n");
    out
}

#[derive(Clone, Copy)]
struct Scale {
    per_milli: f64,
}

impl Scale {
    fn x(self, at: u64) -> f64 {
        LEFT + at as f64 * self.per_milli
    }
}

/// Acknowledged writes of each second.
fn bars(seen: &Recording, scale: Scale) -> String {
    let count = usize::try_from(seen.ended / 1000 + 1).unwrap_or(1);
    let mut per_second = vec![0_u64; count];
    for at in &seen.writes {
        if let Some(bucket) = usize::try_from(at / 1000).ok().and_then(|second| per_second.get_mut(second)) {
            *bucket += 1;
        }
    }
    let most = per_second.iter().copied().max().unwrap_or(1).max(1) as f64;
    let mut out = label(TOP + BARS, "writes/s");
    out.push_str(&format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{most}</text>\n", LEFT - 8.0, TOP + 8.0));
    for (second, value) in per_second.iter().enumerate() {
        let (x, height) = (scale.x(second as u64 * 1000), BARS * *value as f64 / most);
        let width = (1000.0 * scale.per_milli - 1.0).max(0.5);
        out.push_str(&format!(
            "<rect class=\"writes\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>second {second}: {value} rows</title></rect>\n",
            TOP + BARS - height
        ));
    }
    out
}

fn label(y: f64, text: &str) -> String {
    format!("<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{text}</text>\n", LEFT - 8.0)
}

fn lane<T>(name: &str, y: f64, spans: &[Span<T>], scale: Scale, look: impl Fn(&T) -> (&'static str, String)) -> String {
    let mut out = label(y, name);
    for (index, span) in spans.iter().enumerate() {
        // until something else was seen
        let to = spans.get(index + 1).map_or(span.to, |next| next.from);
        let (class, text) = look(&span.seen);
        let (x, width) = (scale.x(span.from), (to.saturating_sub(span.from) as f64 * scale.per_milli).max(1.0));
        out.push_str(&format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"15\"><title>{text}, from {}</title></rect>\n",
            y - 12.0, seconds(span.from)
        ));
        if width > 7.0 * text.len() as f64 {
            out.push_str(&format!("<text class=\"in\" x=\"{:.1}\" y=\"{y:.1}\">{text}</text>\n", x + 4.0));
        }
    }
    out
}

fn axis(ended: u64, height: f64, scale: Scale) -> String {
    let step = [1, 2, 5, 10, 20, 30, 60, 120].into_iter().find(|step| ended / 1000 / step <= 15).unwrap_or(300);
    let ticks = (0..=ended / 1000).step_by(usize::try_from(step).unwrap_or(300));
    ticks
        .map(|second| {
            format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second} s</text>\n",
                scale.x(second * 1000),
                height - 5.0
            )
        })
        .collect()
}
