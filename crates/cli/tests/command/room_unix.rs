//! What a test can do to a program on UNIX: run it as another user, and send it signals.
#![cfg(unix)]

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};

use crate::room::{Ran, Room, Serving, text};

impl Room {
    /// Runs it as a user to whom permissions apply: this one, or nobody where this one is root.
    pub(crate) fn run_as_nobody(&self, arguments: &[&str]) -> Ran {
        if !rustix::process::geteuid().is_root() {
            return self.run(arguments);
        }
        // A copy in the room, because the way to the original may be closed to others.
        let everyone = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.dir(), everyone).expect("our own directory");
        let copy = self.path("sparsedisk");
        // By another process: a file that this one writes would be busy in whatever another test starts meanwhile.
        let copied = self.command("cp", &[env!("CARGO_BIN_EXE_sparsedisk"), text(&copy)]).status();
        assert!(copied.is_ok_and(|status| status.success()), "the program is a file");
        let ran = self.command(text(&copy), arguments).uid(65534).gid(65534).output();
        Ran(ran.expect("the program runs"))
    }
}

impl Serving {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, and gives what it said after the start.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).expect("UTF-8");
        (self.child.wait().expect("it ends"), rest)
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().expect("kill runs");
        assert!(status.success());
    }
}
