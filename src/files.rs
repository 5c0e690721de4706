//! Files of this machine. They are read within bounds: what is named by mistake may be a device or a disk image. (A pipe is
//! good: the shell's `<(…)` is one.) And they are written whole or not at all.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::NamedTempFile;

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

#[cfg(test)]
mod tests {
    use super::*;

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
