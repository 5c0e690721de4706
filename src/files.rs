//! Files of this machine. They are read within bounds: what is named by mistake may be a device or a disk image. (A pipe is
//! good: the shell's `<(…)` is one.) And they are written whole or not at all.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The home directory of who runs this: `HOME`, or what the machine's list of users says. Services have no `HOME`, and the
/// C library's look-up, which would know users of a directory too, is not in a static program.
pub fn home() -> Option<PathBuf> {
    let given = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    given.or_else(|| home_of(rustix::process::getuid().as_raw(), &read_text(Path::new("/etc/passwd")).ok()?))
}

/// The directory of a kind of files: what the variable says (`XDG_CACHE_HOME`), or its usual place below the home directory.
pub fn base(variable: &str, below_home: &str) -> Option<PathBuf> {
    // The base directory specification: a relative path in the variable is to be ignored.
    let given = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    given.or_else(|| home().map(|home| home.join(below_home)))
}

/// In the format of passwd(5): `name:password:uid:gid:comment:home:shell`.
fn home_of(uid: u32, users: &str) -> Option<PathBuf> {
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut ours = fields.filter(|fields| fields.get(2).is_some_and(|id| id.parse() == Ok(uid)));
    ours.next()?.get(5).filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// Far more than anything written by hand.
pub const TEXT: u64 = 4 << 20;

/// The bytes of a file that has at most `limit` of them.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        return Ok(bytes);
    }
    let message = format!("it is larger than {} MiB, which is no file of this kind", limit >> 20);
    Err(io::Error::new(io::ErrorKind::FileTooLarge, message))
}

/// The same for a text in UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let no_text = |error: std::string::FromUtf8Error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        io::Error::new(io::ErrorKind::InvalidData, format!("it is not text in UTF-8 (line {line})"))
    };
    String::from_utf8(read(path, TEXT)?).map_err(no_text)
}

/// The directory a file is in, or is to be in.
pub fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A whole new content beside a file, on the disk, of mode 0600 from its first byte; to be put in the file's place.
pub fn beside(path: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(".xnat-").tempfile_in(directory(path))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Make the directory a file is to be in, for its owner alone, where it is missing.
pub fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory(path))
}

/// A file for its owner alone, in a directory that is made where it is missing: at every moment it is the old or the new one.
pub fn keep(path: &Path, content: &[u8]) -> io::Result<()> {
    make_directory(path)?;
    beside(path, content)?.persist(path)?;
    Ok(())
}

/// A text that whoever the user lets may read: at every moment the file is the old or the new one.
pub fn publish(path: &Path, text: &str) -> io::Result<()> {
    let file = beside(path, text.as_bytes())?;
    readable(file.as_file())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// What is made as a temporary file is for its owner alone; this is for whoever the user lets read.
pub fn readable(file: &File) -> io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_users_knows_homes() {
        let users = "root:x:0:0:root:/root:/bin/bash\nrubbish\nnobody:x:65534:65534:::/bin/false\nanna:x:1000:1000:A:/home/anna:/bin/sh\n";
        assert_eq!(home_of(0, users), Some(PathBuf::from("/root")));
        assert_eq!(home_of(1000, users), Some(PathBuf::from("/home/anna")));
        assert_eq!(home_of(65534, users), None);
        assert_eq!(home_of(7, users), None);
    }

    #[test]
    fn what_is_too_large_or_no_text_is_refused() {
        let error = |path: &str| read_text(Path::new(path)).expect_err("refused").to_string();
        assert_eq!(error("/dev/zero"), "it is larger than 4 MiB, which is no file of this kind");
        assert!(error("/").starts_with("Is a directory"));
        assert_eq!(read_text(Path::new("/dev/null")).expect("read"), "");
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        let path = file.to_str().expect("UTF-8");
        File::create(&file).and_then(|made| made.set_len(TEXT + 1)).expect("made");
        assert_eq!(error(path), "it is larger than 4 MiB, which is no file of this kind");
        std::fs::write(&file, b"one\ntwo \xff\n").expect("written");
        assert_eq!(error(path), "it is not text in UTF-8 (line 2)");
        std::fs::write(&file, "good").expect("written");
        assert_eq!(read_text(&file).expect("read"), "good");
    }
}
