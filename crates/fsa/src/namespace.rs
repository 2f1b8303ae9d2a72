//! Files and directories by name.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Status;
use crate::open::Attributes;
use crate::stream::Stream;

/// The root directory's file number, as on NTFS.
pub(crate) const ROOT: u64 = 5;
/// The longest name in UTF-16 units.
const MAX_NAME_UNITS: usize = 255;
/// The first number for ordinary files; smaller ones are NTFS's own.
const FIRST_FILE: u64 = 24;

/// A file or directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    pub(crate) parent: u64,
    pub(crate) name: String,
    pub(crate) is_directory: bool,
    /// Without `SPARSE_FILE`, which is a matter of the streams, and `DIRECTORY`.
    pub(crate) attributes: Attributes,
    /// A file's default stream first; a directory has only named ones.
    pub(crate) streams: Vec<Stream>,
    /// By [`folded`] name.
    pub(crate) children: BTreeMap<String, u64>,
    pub(crate) created: u64,
    pub(crate) modified: u64,
    pub(crate) changed: u64,
    pub(crate) usn: u64,
    pub(crate) delete_pending: bool,
    pub(crate) pending_notifications: u32,
}

impl File {
    pub(crate) fn stream(&self, id: u64) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.id == id)
    }

    pub(crate) fn stream_mut(&mut self, id: u64) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }

    /// The attributes as they are reported. Sparse is the union over the streams (\[MS-FSA\] 2.1.5.10.38).
    pub(crate) fn reported_attributes(&self) -> Attributes {
        let mut attributes = self.attributes;
        if self.is_directory {
            attributes = attributes | Attributes::DIRECTORY;
        }
        if self.streams.iter().any(|stream| stream.is_sparse) {
            attributes = attributes | Attributes::SPARSE_FILE;
        }
        if attributes == Attributes::NONE { Attributes::NORMAL } else { attributes }
    }
}

/// All files of a volume.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<u64, File>,
    pub(crate) next_file: u64,
    pub(crate) next_stream: u64,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let root = File { parent: ROOT, is_directory: true, ..File::default() };
        Self { files: BTreeMap::from([(ROOT, root)]), next_file: FIRST_FILE, next_stream: 1 }
    }

    /// The path of a file from the root on, with backslashes.
    pub(crate) fn path(&self, mut id: u64) -> String {
        let mut names = Vec::new();
        while let Some(file) = self.files.get(&id).filter(|_| id != ROOT) {
            names.push(file.name.as_str());
            id = file.parent;
        }
        if names.is_empty() {
            return String::from("\\");
        }
        names.iter().rev().fold(String::new(), |path, name| path + "\\" + name)
    }

    /// The directory `names` lead to.
    pub(crate) fn directory(&self, names: &[&str]) -> Result<u64, Status> {
        let mut at = ROOT;
        for name in names {
            let next = self.files[&at].children.get(&folded(name)).ok_or(Status::OBJECT_PATH_NOT_FOUND)?;
            at = *next;
            if !self.files[&at].is_directory {
                return Err(Status::OBJECT_PATH_NOT_FOUND);
            }
        }
        Ok(at)
    }

    pub(crate) fn fresh_stream(&mut self, name: &str) -> Stream {
        let id = self.next_stream;
        self.next_stream += 1;
        Stream { id, name: name.into(), ..Stream::default() }
    }

    /// Puts `file` into its directory.
    pub(crate) fn link(&mut self, file: File) -> u64 {
        let id = self.next_file;
        self.next_file += 1;
        let name = folded(&file.name);
        if let Some(parent) = self.files.get_mut(&file.parent) {
            parent.children.insert(name, id);
        }
        self.files.insert(id, file);
        id
    }

    /// Takes a file out of its directory and of the volume.
    pub(crate) fn unlink(&mut self, id: u64) -> Option<File> {
        let file = self.files.remove(&id)?;
        if let Some(parent) = self.files.get_mut(&file.parent) {
            parent.children.remove(&folded(&file.name));
        }
        Some(file)
    }
}

/// A name as it is compared: case does not count.
///
/// NTFS folds with the table in `$UpCase`, one UTF-16 unit to one; Unicode's simple cases are the same table for the
/// letters in common use.
pub(crate) fn folded(name: &str) -> String {
    name.chars()
        .map(|c| {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(one), None) => one,
                _ => c,
            }
        })
        .collect()
}

/// A path taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    /// The directories on the way and the file; empty for the root.
    pub(crate) names: Vec<&'a str>,
    /// The stream named, without its type; empty for the default one.
    pub(crate) stream: &'a str,
    /// `:$DATA` was said.
    pub(crate) says_data: bool,
    /// The path ends with a backslash.
    pub(crate) trailing: bool,
}

/// Takes `\dir\file:stream:$DATA` apart.
pub(crate) fn parse(path: &str) -> Result<Path<'_>, Status> {
    let rest = path.strip_prefix('\\').ok_or(Status::OBJECT_NAME_INVALID)?;
    if rest.is_empty() {
        return Ok(Path { names: Vec::new(), stream: "", says_data: false, trailing: false });
    }
    let (rest, trailing) = rest.strip_suffix('\\').map_or((rest, false), |rest| (rest, true));
    let mut names: Vec<&str> = rest.split('\\').collect();
    let last = names.pop().unwrap_or_default();
    let mut parts = last.split(':');
    names.push(parts.next().unwrap_or_default());
    let (stream, kind) = (parts.next(), parts.next());
    if parts.next().is_some() {
        return Err(Status::OBJECT_NAME_INVALID);
    }
    let says_data = match kind {
        None => false,
        Some(kind) if kind.eq_ignore_ascii_case("$DATA") => true,
        Some(_) => return Err(Status::OBJECT_NAME_INVALID),
    };
    let stream = match stream {
        // "file:" names nothing; "file::$DATA" names the default stream.
        Some("") if !says_data => return Err(Status::OBJECT_NAME_INVALID),
        Some(stream) => stream,
        None => "",
    };
    let named_right = names.iter().all(|name| is_name(name)) && (stream.is_empty() || is_stream_name(stream));
    if !named_right {
        return Err(Status::OBJECT_NAME_INVALID);
    }
    Ok(Path { names, stream, says_data, trailing })
}

/// \[MS-FSCC\] 2.1.5.2.
pub(crate) fn is_name(name: &str) -> bool {
    let wrong = |c: char| c < ' ' || "\"*/:<>?\\|".contains(c);
    has_length(name) && name != "." && name != ".." && !name.contains(wrong)
}

/// \[MS-FSCC\] 2.1.5.3: more is allowed in the name of a stream.
pub(crate) fn is_stream_name(name: &str) -> bool {
    has_length(name) && !name.contains(['\0', '/', ':', '\\'])
}

fn has_length(name: &str) -> bool {
    (1..=MAX_NAME_UNITS).contains(&name.encode_utf16().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let path = |names: &[&'static str], stream, says_data, trailing| {
            Ok(Path { names: names.to_vec(), stream, says_data, trailing })
        };
        assert_eq!(parse("\\"), path(&[], "", false, false));
        assert_eq!(parse("\\a\\b"), path(&["a", "b"], "", false, false));
        assert_eq!(parse("\\a\\b\\"), path(&["a", "b"], "", false, true));
        assert_eq!(parse("\\a:s"), path(&["a"], "s", false, false));
        assert_eq!(parse("\\a:s:$data"), path(&["a"], "s", true, false));
        assert_eq!(parse("\\a::$DATA"), path(&["a"], "", true, false));
        let long = alloc::format!("\\{}", "x".repeat(256));
        for wrong in [
            "",
            "a",
            "\\\\",
            "\\a\\\\b",
            "\\a:",
            "\\a:s:",
            "\\a:s:$DATA:x",
            "\\a:s:$X",
            "\\a*",
            "\\..",
            "\\a:s\\b",
            &long,
        ] {
            assert_eq!(parse(wrong), Err(Status::OBJECT_NAME_INVALID), "{wrong}");
        }
    }

    #[test]
    fn case_does_not_count() {
        assert_eq!(folded("Straße\u{e4}"), folded("straße\u{c4}"));
        assert_ne!(folded("a"), folded("b"));
    }
}
