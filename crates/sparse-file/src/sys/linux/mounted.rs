//! Files that are mounted by themselves (bind mounts, as containers get them): `/proc/[pid]/mountinfo`, `proc(5)`.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::Identity;

/// Where this very file is mounted, in the name spaces of every process that we may look at.
pub(crate) fn mounted_at(file: &File) -> Option<PathBuf> {
    let wanted = Identity::of_file(file).ok()?;
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let mut seen = HashSet::new();
    let others = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    std::iter::once(PathBuf::from("/proc/self")).chain(others).find_map(|process| {
        // Not a process, or not for us to see; or a name space that has been seen.
        let space = fs::read_link(process.join("ns/mnt")).ok()?;
        let mounts = seen.insert(space).then(|| fs::read(process.join("mountinfo")).ok())??;
        let mut mounts = mounts.split(|&byte| byte == b'\n').filter_map(parse);
        mounts.find_map(|(root, place)| {
            // What cannot be it is not even looked at: there may be a server behind it.
            let may_be = root.file_name() == path.file_name() || place == path;
            let there = || Identity::at(&process.join("root").join(place.strip_prefix("/").ok()?));
            (may_be && there() == Some(wanted)).then_some(place.clone())
        })
    })
}

/// What is mounted, by its path in its file system, and where.
fn parse(line: &[u8]) -> Option<(PathBuf, PathBuf)> {
    let mut words = line.split(|&byte| byte == b' ').skip(3);
    Some((unescape(words.next()?), unescape(words.next()?)))
}

/// Blanks and backslashes are three octal digits after a backslash.
fn unescape(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, after @ ..] = rest {
        rest = after;
        let octal = || u8::from_str_radix(std::str::from_utf8(after.get(..3)?).ok()?, 8).ok();
        match (first, octal()) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => bytes.push(*first),
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_gives_what_is_mounted_and_where() {
        let line = br"36 35 98:0 /srv/my\040disk.img /mnt/a\134b rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(parse(line), Some(("/srv/my disk.img".into(), r"/mnt/a\b".into())));
        for torn in ["", "36 35 98:0", "36 35 98:0 /"] {
            assert_eq!(parse(torn.as_bytes()), None);
        }
        assert_eq!(unescape(br"a\04"), PathBuf::from(r"a\04"));
    }
}
