//! Linux: units of systemd, in the directory of the machine's or of the user's.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use disk_types::{Error, ErrorKind, Result};

use crate::systemd::{self, Units};
use crate::{Added, Entry, Job, Plan, Scope, Text, absolute};

const OPERATION: &str = "schedule";
/// There where systemd is what started the machine (`sd_booted(3)`).
const BOOTED: &str = "/run/systemd/system";

pub(crate) fn usual_scope() -> Scope {
    if rustix::process::geteuid().is_root() { Scope::System } else { Scope::User }
}

pub(crate) fn bytes_of_path(path: &Path) -> Option<Vec<u8>> {
    Some(path.as_os_str().as_bytes().to_vec())
}

pub(crate) fn path_of_bytes(mut bytes: Vec<u8>) -> Option<PathBuf> {
    bytes.insert(0, b'/');
    Some(std::ffi::OsString::from_vec(bytes).into())
}

/// The directory as it really is, links followed.
pub(crate) fn real(directory: &Path) -> Option<PathBuf> {
    directory.canonicalize().ok()
}

pub(crate) fn plan(job: &Job) -> Result<Plan> {
    Systemd::here(job.scope)?.plan(job)
}

pub(crate) fn add(job: &Job) -> Result<Added> {
    Systemd::here(job.scope)?.add(job)
}

pub(crate) fn remove(image: &Path, scope: Scope) -> Result<Entry> {
    Systemd::here(scope)?.remove(&absolute(image)?)
}

pub(crate) fn list() -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for scope in [Scope::System, Scope::User] {
        // Who has no home has no entries there.
        if let Ok(systemd) = Systemd::here(scope) {
            found.extend(systemd.entries()?.into_iter().map(|entry| systemd.told(entry)));
        }
    }
    Ok(found)
}

/// The systemd of the machine, or that of the user.
struct Systemd {
    scope: Scope,
    /// Where its units lie.
    directory: PathBuf,
    /// How it is spoken to; `None` where it does not run.
    systemctl: Option<PathBuf>,
}

impl Systemd {
    fn here(scope: Scope) -> Result<Self> {
        let systemctl = Path::new(BOOTED).exists().then(|| "systemctl".into());
        Ok(Self { scope, directory: directory(scope)?, systemctl })
    }

    fn plan(&self, job: &Job) -> Result<Plan> {
        let Units { stem, service, timer } = systemd::units(job)?;
        let text = |suffix: &str, text| Text { path: self.directory.join(format!("{stem}.{suffix}")), text };
        let name = format!("{stem}.timer");
        let systemctl = match self.scope {
            Scope::User => "systemctl --user",
            Scope::System => "systemctl",
        };
        // Quoted, because the shell would take the backslashes away.
        let commands = vec![format!("{systemctl} daemon-reload"), format!("{systemctl} enable --now '{name}'")];
        Ok(Plan { files: vec![text("service", service), text("timer", timer)], commands, name })
    }

    fn add(&self, job: &Job) -> Result<Added> {
        let plan = self.plan(job)?;
        if self.systemctl.is_none() {
            let note = "systemd does not run here: write these files where it does, and run these commands";
            return Ok(Added { plan, enabled: false, replaced: false, notes: vec![note.to_owned()] });
        }
        let before: Vec<_> = plan.files.iter().map(|file| fs::read_to_string(&file.path).ok()).collect();
        let replaced = before.iter().any(Option::is_some);
        let made_here = |text: &String| text.starts_with(systemd::MADE_HERE);
        if let Some((file, _)) = plan.files.iter().zip(&before).find(|(file, before)| match before {
            Some(text) => !made_here(text),
            None => fs::symlink_metadata(&file.path).is_ok(),
        }) {
            return Err(Error::new(ErrorKind::AlreadyExists, OPERATION)
                .at_path(job.image.display())
                .because(format!("{} is there, and was not made by sparsedisk", file.path.display()))
                .advise("rename or delete it"));
        }
        let done = self.write_all(&plan).and_then(|()| {
            self.run(&["daemon-reload"])?;
            self.run(&["enable", "--", &plan.name])?;
            // Restarted, because a timer that runs keeps the calendar it was started with.
            self.run(&["restart", "--", &plan.name])
        });
        if let Err(error) = done {
            self.undo(&plan, &before);
            return Err(error.at_path(job.image.display()));
        }
        let mut notes = Vec::new();
        if self.scope == Scope::User && !lingers() {
            notes.push("it runs while you are logged in; `loginctl enable-linger` lets it run at any time".to_owned());
        }
        Ok(Added { plan, enabled: true, replaced, notes })
    }

    /// Puts back what was there before. The error that led here is the one that is told.
    fn undo(&self, plan: &Plan, before: &[Option<String>]) {
        if before.iter().all(Option::is_none) {
            let _ = self.run(&["disable", "--now", "--", &plan.name]);
        }
        for (file, before) in plan.files.iter().zip(before) {
            let _ = match before {
                Some(text) => fs::write(&file.path, text),
                None => fs::remove_file(&file.path),
            };
        }
        let _ = self.run(&["daemon-reload"]);
        if before.iter().any(Option::is_some) {
            let _ = self.run(&["restart", "--", &plan.name]);
        }
    }

    fn remove(&self, image: &Path) -> Result<Entry> {
        let entry = self.entries()?.into_iter().find(|entry| entry.image == image).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "unschedule")
                .at_path(image.display())
                .because(format!("there is no {} entry for it", self.scope.name()))
                .advise("`sparsedisk schedule list` shows what there is; --user and --system say whose is meant")
        })?;
        let entry = self.told(entry);
        let service = entry.name.replace(".timer", ".service");
        let runs = self.systemctl.is_some();
        if runs {
            self.run(&["disable", "--now", "--", &entry.name])?;
        }
        for name in [&service, &entry.name] {
            let path = self.directory.join(name);
            if fs::read_to_string(&path).is_ok_and(|text| !text.starts_with(systemd::MADE_HERE)) {
                continue;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::from_io("remove", error).at_path(path.display()));
                }
                _ => {}
            }
        }
        if runs {
            self.run(&["daemon-reload"])?;
            // A run that failed is forgotten with it; there may be none.
            let _ = self.run(&["reset-failed", "--", &service]);
        }
        Ok(entry)
    }

    /// The entries, without what systemd knows of them.
    fn entries(&self) -> Result<Vec<Entry>> {
        let failed = |error| Error::from_io("list", error).at_path(self.directory.display());
        let names = match fs::read_dir(&self.directory) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut found = Vec::new();
        for entry in names {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !name.starts_with(systemd::PREFIX) || !name.ends_with(".timer") {
                continue;
            }
            // Removed meanwhile, or not for us to read: not ours either.
            let Ok(text) = fs::read_to_string(entry.path()) else { continue };
            found.extend(systemd::read_timer(&name, &text, self.scope));
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// The entry with what systemd tells of it.
    fn told(&self, entry: Entry) -> Entry {
        let timer = self.show(&entry.name, "ActiveState,NextElapseUSecRealtime");
        let service = self.show(&entry.name.replace(".timer", ".service"), "Result,ExecMainExitTimestamp");
        let field = |fields: &[(String, String)], key: &str| {
            let value = fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
            value.filter(|value| !value.is_empty() && value != "n/a")
        };
        // Not when the timer was last due: that begins with the time at which it was made. And a service that has not
        // run calls that success.
        let last = field(&service, "ExecMainExitTimestamp");
        Entry {
            active: field(&timer, "ActiveState").map(|state| state == "active"),
            next: field(&timer, "NextElapseUSecRealtime"),
            last_result: last.as_ref().and_then(|_| field(&service, "Result")),
            last,
            ..entry
        }
    }

    /// Properties of a unit; none where systemd does not tell.
    fn show(&self, unit: &str, properties: &str) -> Vec<(String, String)> {
        let said = self.output(&["show", "--property", properties, "--", unit]).unwrap_or_default();
        let fields = said.lines().filter_map(|line| line.split_once('='));
        fields.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Writes the files, so that a reader sees each whole or not at all.
    fn write_all(&self, plan: &Plan) -> Result<()> {
        let failed = |path: &Path, error| {
            let error = Error::from_io(OPERATION, error).at_path(path.display());
            match (error.kind(), self.scope) {
                (ErrorKind::PermissionDenied, Scope::System) => {
                    error.advise("an entry of the machine wants root; --user makes one of this user")
                }
                _ => error,
            }
        };
        fs::create_dir_all(&self.directory).map_err(|error| failed(&self.directory, error))?;
        for file in &plan.files {
            // Short, whatever the name of the unit; and no unit is called so: systemd passes it over.
            let beside = self.directory.join(format!(".{}{}~", systemd::PREFIX, std::process::id()));
            let written = write_durably(&beside, &file.text).and_then(|()| fs::rename(&beside, &file.path));
            if let Err(error) = written {
                let _ = fs::remove_file(&beside);
                return Err(failed(&file.path, error));
            }
        }
        Ok(())
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        self.output(arguments).map(drop)
    }

    fn output(&self, arguments: &[&str]) -> Result<String> {
        let Some(systemctl) = &self.systemctl else {
            return Err(Error::new(ErrorKind::Unsupported, OPERATION).because("systemd does not run here"));
        };
        let mut command = Command::new(systemctl);
        if self.scope == Scope::User {
            command.arg("--user");
        }
        // Its words are read here, and shown to people: one language, no pages, no questions.
        command.args(["--no-pager", "--no-ask-password"]).args(arguments);
        command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        let done = command.output().map_err(|error| Error::from_io("run systemctl", error))?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&done.stderr).trim().replace('\n', "; ");
        Err(Error::new(ErrorKind::Io, OPERATION)
            .because(format!("systemctl {} failed: {said}", arguments.join(" ")))
            .advise("see `systemctl status`; --print shows the units, to be put there by hand"))
    }
}

fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Where units of this scope lie.
fn directory(scope: Scope) -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    match scope {
        Scope::System => Ok("/etc/systemd/system".into()),
        Scope::User => set("XDG_CONFIG_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".config")))
            .map(|config| config.join("systemd/user"))
            .ok_or_else(|| {
                Error::new(ErrorKind::NotFound, OPERATION)
                    .because("this user has no home directory: neither HOME nor XDG_CONFIG_HOME is set")
                    .advise("set HOME, or ask for an entry of the machine (--system)")
            }),
    }
}

/// Whether the user's timers run without a login.
fn lingers() -> bool {
    let user = std::env::var_os("USER").or_else(|| std::env::var_os("LOGNAME"));
    user.is_some_and(|user| Path::new("/var/lib/systemd/linger").join(user).exists())
}

#[cfg(test)]
mod tests;
