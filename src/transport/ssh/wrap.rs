//! What is put around a script before it is sent, and taken off what it printed.

use super::exec::Raw;
use crate::transport::{Output, Script};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A script as it is sent to `sh -s`.
pub(super) struct Wrapped {
    pub text: String,
    mark: String,
}

/// How a shell ended.
#[derive(Debug)]
pub(super) enum Ending {
    Ran(Output),
    /// The script wanted root and was not.
    NotRoot,
    /// It never came to the script: what the shell (or sudo) said instead.
    NotStarted(Output),
}

/// Who makes sure that a script for root runs as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RootCheck {
    /// It need not be root, or sudo sees to it.
    Needless,
    /// The first process is root's, and the shell itself sees whether that is who it runs as; `id` is a program.
    Here,
}

impl Wrapped {
    /// The script becomes a function, and all that calls it is one compound command whose last character is the last
    /// that is sent: cut off anywhere, the shell finds a syntax error and runs nothing. The function's input is
    /// `/dev/null`, so that no program can eat the rest of the script. A mark tells our output from what login files
    /// or sudo's lecture print before.
    pub(super) fn new(script: &Script, root: RootCheck) -> Self {
        let mark = format!("XNAT{:016x}", rand::random::<u64>());
        let check = match root {
            RootCheck::Needless => String::new(),
            RootCheck::Here => {
                format!("if ! [ -O /proc/1 ] && [ \"$(id -u)\" != 0 ]; then echo {mark}-not-root >&2; exit 126; fi\n")
            }
        };
        let text = format!(
            "xnat_main() {{ :\n{body}\n}}\n{{\nLC_ALL=C; export LC_ALL; PATH={PATH}; export PATH; umask 022\n\
             {check}echo {mark}; echo {mark} >&2\nxnat_main </dev/null\nexit\n}}",
            body = script.text,
        );
        Self { text, mark }
    }

    /// A script that keeps the channel's input and output. The line feed after the last brace makes the shell begin
    /// without the end of its input; it has read no further than that, so what is sent after the mark is the script's.
    pub(super) fn open_ended(script: &Script, root: RootCheck) -> Self {
        let Self { text, mark } = Self::new(script, root);
        Self { text: format!("{}\n", text.replace("\nxnat_main </dev/null\nexit\n}", "\nxnat_main\nexit\n}")), mark }
    }

    /// What the script's own output begins after.
    pub(super) fn begin(&self) -> String {
        format!("{}\n", self.mark)
    }

    pub(super) fn unwrap(&self, raw: Raw) -> Ending {
        let begin = self.begin();
        let not_root = format!("{}-not-root", self.mark);
        let (stdout, stderr) = (after(&raw.stdout, &begin), after(&raw.stderr, &begin));
        match (stdout, stderr) {
            (Some(stdout), Some(stderr)) => Ending::Ran(output(raw.status, stdout, stderr)),
            _ if find(&raw.stderr, not_root.as_bytes()).is_some() => Ending::NotRoot,
            _ => Ending::NotStarted(output(raw.status, &raw.stdout, &raw.stderr)),
        }
    }
}

fn output(status: u32, stdout: &[u8], stderr: &[u8]) -> Output {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Output { status, stdout: text(stdout), stderr: text(stderr) }
}

fn after<'a>(text: &'a [u8], mark: &str) -> Option<&'a [u8]> {
    find(text, mark.as_bytes()).map(|start| &text[start + mark.len()..])
}

pub(super) fn find(text: &[u8], piece: &[u8]) -> Option<usize> {
    text.windows(piece.len()).position(|window| window == piece)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn sh(input: &str) -> Raw {
        let mut shell = Command::new("sh");
        shell.arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut shell = shell.spawn().expect("sh starts");
        // A shell that has seen enough closes its input; that is its good right.
        let _closed = shell.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let ended = shell.wait_with_output().expect("sh ends");
        Raw {
            status: ended.status.code().expect("a status").try_into().expect("positive"),
            stdout: ended.stdout,
            stderr: ended.stderr,
        }
    }

    fn wrapped(text: &str) -> Wrapped {
        Wrapped::new(&Script::as_login("test", text), RootCheck::Needless)
    }

    fn run(text: &str) -> Output {
        let wrapped = wrapped(text);
        match wrapped.unwrap(sh(&wrapped.text)) {
            Ending::Ran(output) => output,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn output_status_and_surroundings() {
        let output = run(
            "echo out; echo err >&2; cat; echo $LC_ALL $(umask); case $PATH in */sbin*) ;; *) exit 9;; esac; false",
        );
        assert_eq!(output, Output { status: 1, stdout: "out\nC 0022\n".into(), stderr: "err\n".into() });
        assert_eq!(run("exit 7").status, 7);
        assert_eq!(run("set -e; false; echo never").status, 1);
        assert_eq!(run(""), Output::default());
    }

    #[test]
    fn here_documents_and_a_last_line_without_newline() {
        assert_eq!(run("cat <<'END'\n$HOME } { it's\nEND").stdout, "$HOME } { it's\n");
        assert_eq!(run("echo a # comment").stdout, "a\n");
    }

    #[test]
    fn cut_anywhere_it_runs_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ran");
        let wrapped = wrapped(&format!("touch {}\ncat <<E\nsome text\nE\nexit 0", file.display()));
        for end in 0..wrapped.text.len() {
            let raw = sh(&wrapped.text[..end]);
            assert!(!file.exists(), "cut after {end} characters it ran");
            assert!(matches!(wrapped.unwrap(raw), Ending::NotStarted(_)));
        }
        sh(&wrapped.text);
        assert!(file.exists());
    }

    #[test]
    fn noise_before_the_script_is_taken_off() {
        let wrapped = wrapped("echo mine");
        match wrapped.unwrap(sh(&format!("echo Welcome!; echo lecture >&2\n{}", wrapped.text))) {
            Ending::Ran(output) => assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("mine\n", "")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_script_that_is_no_shell_did_not_start() {
        let wrapped = wrapped("if true; then");
        assert!(matches!(wrapped.unwrap(sh(&wrapped.text)), Ending::NotStarted(output) if output.status == 2));
    }
}
