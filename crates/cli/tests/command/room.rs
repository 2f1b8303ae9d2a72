//! A directory of its own for each test, and the program run in it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;

/// What `create` and `copy` are told besides: where the tests run on Windows, which is under Wine, no file has holes.
pub(crate) const HERE: &[&str] = if cfg!(windows) { &["--dense"] } else { &[] };

pub(crate) struct Room {
    directory: tempfile::TempDir,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// The program, about to run in this room, with an environment that says nothing about colours and widths.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        self.command(env!("CARGO_BIN_EXE_sparsedisk"), arguments)
    }

    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.dir()).stdin(Stdio::null());
        for name in ["NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "LISTEN_FDS", "LISTEN_PID", "LC_CTYPE", "LANG"] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C.UTF-8");
        command
    }

    /// The program's assertions, for its text.
    pub(crate) fn snap(&self, arguments: &[&str]) -> snapbox::cmd::OutputAssert {
        snapbox::cmd::Command::from_std(self.program(arguments)).assert()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran(self.program(arguments).output().expect("the program runs"))
    }

    /// Runs it with --json, and gives the object; it must succeed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code(), 0, "{arguments:?}: {ran:?}");
        ran.object()
    }

    /// Runs it with --json, and gives the error; it must fail with `code`.
    pub(crate) fn json_error(&self, code: i32, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code(), code, "{arguments:?}: {ran:?}");
        assert_eq!(String::from_utf8_lossy(&ran.0.stderr), "", "{arguments:?}");
        ran.object()["error"].clone()
    }

    pub(crate) fn create(&self, name: &str, size: &str) -> PathBuf {
        self.json(&[&["create", name, "--size", size][..], HERE].concat());
        self.path(name)
    }

    pub(crate) fn create_fat(&self, name: &str, size: &str) -> PathBuf {
        self.json(&[&["create", name, "--size", size, "--fs", "fat32"][..], HERE].concat());
        self.path(name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir()).expect("the room can be listed");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Runs a judge; `None`, and a word about it, where it is not installed.
    pub(crate) fn judge(&self, program: &str, arguments: &[&str]) -> Option<Output> {
        if cfg!(windows) {
            eprintln!("skipped: {program} judges on other systems");
            return None;
        }
        match self.command(program, arguments).output() {
            Ok(output) => Some(output),
            Err(error) => {
                skip(&format!("{program}: {error}"));
                None
            }
        }
    }
}

/// Says that a test cannot run here, which is an error where everything is required.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|all| all != "1"), "{why}");
    eprintln!("skipped: {why}");
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran(pub(crate) Output);

impl Ran {
    pub(crate) fn code(&self) -> i32 {
        self.0.status.code().expect("it was not killed")
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).expect("UTF-8")
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).expect("UTF-8")
    }

    pub(crate) fn object(&self) -> Value {
        let value: Value = serde_json::from_slice(&self.0.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(value["schema"], 1, "{self:?}");
        value
    }
}

/// What the file system says that a file occupies.
#[cfg(unix)]
pub(crate) fn allocated(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(path).expect("it exists")) * 512
}

/// What the file system says that a file occupies.
#[cfg(windows)]
pub(crate) fn allocated(path: &Path) -> u64 {
    let file = sparse_file::SparseFile::open(path, sparse_file::Access::Inspect).expect("it opens");
    file.allocated_bytes().expect("the system tells")
}

/// Writes a pattern that is nowhere zero.
pub(crate) fn write_data(path: &Path, offset: u64, len_bytes: u64) {
    write(path, offset, &(0..len_bytes).map(|index| (index % 251) as u8 + 1).collect::<Vec<u8>>());
}

/// Writes zeroes.
pub(crate) fn write_zeroes(path: &Path, offset: u64, len_bytes: u64) {
    write(path, offset, &vec![0; usize::try_from(len_bytes).unwrap()]);
}

/// Writes, durably.
pub(crate) fn write(path: &Path, offset: u64, data: &[u8]) {
    let mut file = File::options().write(true).open(path).expect("it opens");
    file.seek(SeekFrom::Start(offset)).expect("it has a position");
    file.write_all(data).expect("it takes data");
    file.sync_all().expect("it syncs");
}

/// A server, killed if the test ends before it does.
pub(crate) struct Serving {
    pub(crate) child: Child,
    /// What it says afterwards.
    #[cfg_attr(windows, expect(dead_code, reason = "without signals it is killed"))]
    pub(crate) out: BufReader<ChildStdout>,
    /// The object it printed when it began to listen.
    pub(crate) start: Value,
}

impl Serving {
    pub(crate) fn start(room: &Room, arguments: &[&str]) -> Self {
        Self::spawn(room.program(&[&["serve"], arguments, &["--json"]].concat()))
    }

    /// Starts any command that becomes a server with --json.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the server starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("it speaks");
        let start = serde_json::from_str(&line).unwrap_or_else(|error| {
            let mut said = String::new();
            let _ = child.stderr.take().expect("piped").read_to_string(&mut said);
            panic!("{error}: {line:?} {said:?}")
        });
        Self { child, out, start }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A path as an argument.
pub(crate) fn text(path: &(impl AsRef<OsStr> + ?Sized)) -> &str {
    path.as_ref().to_str().expect("UTF-8")
}
