//! Reports as a person sees them: in Chromium without a screen, light and dark, wide and narrow. The pictures stay in
//! the directory for what tests make, to be looked at.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::Ran;

const SCHEMES: [(&str, &str); 2] = [("light", "1"), ("dark", "0")];
const WIDTHS: [u32; 2] = [1280, 500];
const HEIGHT: u32 = 1600;

/// Nothing sticks out of a page, it has the colours that were asked for, and there is something to see on it.
pub fn look_at(page: &Path, name: &str) {
    let text = fs::read_to_string(page).expect("a report");
    for elsewhere in ["src=\"http", "href=\"http", "url(", "@import"] {
        assert!(!text.contains(elsewhere), "{}: {elsewhere} is from elsewhere", page.display());
    }
    let directory = tempfile::tempdir().expect("a directory");
    let measured = directory.path().join("measured.html");
    let measure = "<script>document.title = document.documentElement.scrollWidth + ' of ' + innerWidth</script>";
    fs::write(&measured, text + measure).expect("written");
    for (scheme, preferred) in SCHEMES {
        for width in WIDTHS {
            let chromium = Chromium { profile: directory.path(), preferred, width };
            let title = chromium.run("--dump-dom", &measured).expect(0).stdout;
            let (needed, given) = sizes(&title);
            assert!(needed <= given, "{name}, {scheme}: {needed} pixels of {given}");
            let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{scheme}-{width}.png"));
            chromium.run(&format!("--screenshot={}", picture.display()), page).expect(0);
            let (corner, colours) = seen(&picture, (width, HEIGHT));
            assert_eq!(corner > 384, scheme == "light", "{}: its corner has {corner} of 765", picture.display());
            assert!(colours > 20, "{}: {colours} colours", picture.display());
        }
    }
}

struct Chromium<'a> {
    profile: &'a Path,
    preferred: &'a str,
    width: u32,
}

impl Chromium<'_> {
    fn run(&self, what: &str, page: &Path) -> Ran {
        let mut chromium = Command::new("chromium");
        // it is root here, has no screen, and is to ask nobody for anything
        chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]);
        chromium.args(["--disable-quic", "--disable-background-networking", "--disable-component-update"]);
        chromium.args(["--disable-sync", &format!("--user-data-dir={}", self.profile.display())]);
        chromium.arg(format!("--window-size={},{HEIGHT}", self.width));
        chromium.arg(format!("--blink-settings=preferredColorScheme={}", self.preferred));
        chromium.arg(what).arg(format!("file://{}", page.display()));
        Ran::of(chromium.output().expect("chromium runs: `make test` installs it"))
    }
}

fn sizes(document: &str) -> (u32, u32) {
    let title = document.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let (needed, given) = title.and_then(|(title, _)| title.split_once(" of ")).expect("the script has run");
    (needed.parse().expect("a number"), given.parse().expect("a number"))
}

/// How bright its first pixel is, and how many colours it has.
fn seen(picture: &PathBuf, size: (u32, u32)) -> (u32, usize) {
    let decoder = png::Decoder::new(BufReader::new(File::open(picture).expect("chromium made it")));
    let mut reader = decoder.read_info().expect("a picture");
    let mut bytes = vec![0; reader.output_buffer_size().expect("it fits")];
    let info = reader.next_frame(&mut bytes).expect("it is whole");
    assert_eq!((info.width, info.height), size);
    let pixels: Vec<&[u8]> = bytes[..info.buffer_size()].chunks_exact(info.color_type.samples()).collect();
    let corner = pixels[0].iter().take(3).map(|part| u32::from(*part)).sum();
    (corner, pixels.iter().collect::<HashSet<_>>().len())
}
