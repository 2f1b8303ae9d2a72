//! The text of a service and its timer, as `systemd.service(5)`, `systemd.timer(5)` and `systemd.syntax(7)` have it.
//!
//! | why | what |
//! | --- | --- |
//! | a run that was missed is made up for | `OnCalendar=` with `Persistent=true`, as systemd's own timers for such work have it |
//! | many images are not trimmed at once | `RandomizedDelaySec=`, `AccuracySec=` |
//! | nobody else is disturbed | `Nice=19`, `IOSchedulingClass=idle` |
//! | the entry can be read again | a section `[X-Sparsedisk]`, which systemd passes over |

use std::fmt::Write as _;
use std::path::Path;

use disk_types::{Error, ErrorKind, Result};

use crate::{Entry, Every, Job, Scope, escape_path, unescape_path};

/// How the names of all units begin.
pub(crate) const PREFIX: &str = "sparsedisk-trim-";
/// The longest name of a unit, its suffix included (`UNIT_NAME_MAX`).
const NAME_BYTES: usize = 255;
const SECTION: &str = "[X-Sparsedisk]";
/// How the text of both begins.
pub(crate) const MADE_HERE: &str = "# Made by sparsedisk schedule; `sparsedisk schedule remove` takes it away.";

/// A service and its timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// The name of both without suffix.
    pub stem: String,
    /// The text of `stem.service`.
    pub service: String,
    /// The text of `stem.timer`.
    pub timer: String,
}

/// The units for a job.
///
/// # Errors
/// [`ErrorKind::Refused`] for a path that is no UTF-8: systemd runs it and can no longer show the unit, because what goes
/// over its bus is UTF-8; and for a program whose path has control characters, quotes or backslashes, which it does not run.
pub fn units(job: &Job) -> Result<Units> {
    let refused = |path: &Path, why| Error::new(ErrorKind::Refused, "schedule").at_path(path.display()).because(why);
    let utf8 = |path: &Path| {
        let refused = || refused(path, "its path is no UTF-8, and systemd could not show what became of it");
        path.to_str().map(str::to_owned).ok_or_else(|| refused().advise("give it a name in UTF-8"))
    };
    let (image, program) = (utf8(&job.image)?, utf8(&job.program)?);
    let escaped = escape_path(&job.image).expect("UTF-8 is bytes");
    if program.contains(|c: char| c.is_control() || matches!(c, '"' | '\'' | '\\')) {
        return Err(refused(
            &job.program,
            "systemd runs no program with control characters, quotes or backslashes in its path",
        )
        .advise("install sparsedisk under a plain name"));
    }
    let shown = shown(&image);
    let command = format!("{} trim --skip-in-use -- {}", word(&program, Dollar::Plain), word(&image, Dollar::Doubled));
    let service = format!(
        "{MADE_HERE}\n\
         [Unit]\n\
         Description=Trim {shown}\n\
         Documentation=man:sparsedisk-trim(1)\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         ExecStart={command}\n\
         Nice=19\n\
         IOSchedulingClass=idle\n\
         CPUSchedulingPolicy=batch\n"
    );
    let Job { every, .. } = job;
    let spread = every.spread_seconds();
    let timer = format!(
        "{MADE_HERE}\n\
         [Unit]\n\
         Description=Trim {shown} every {every}\n\
         Documentation=man:sparsedisk-schedule(1)\n\
         \n\
         [Timer]\n\
         OnCalendar={}\n\
         Persistent=true\n\
         AccuracySec={}s\n\
         RandomizedDelaySec={spread}s\n\
         \n\
         [Install]\n\
         WantedBy=timers.target\n\
         \n\
         {SECTION}\n\
         Image={escaped}\n\
         Every={every}\n",
        every.calendar(),
        (spread / 6).max(1),
    );
    Ok(Units { stem: stem(&escaped), service, timer })
}

/// The entry that a timer's text describes, if it was made here.
#[must_use]
pub fn read_timer(name: &str, text: &str, scope: Scope) -> Option<Entry> {
    let (_, section) = text.split_once(&format!("\n{SECTION}\n"))?;
    let field = |key: &str| section.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    Some(Entry {
        image: unescape_path(field("Image")?)?,
        every: field("Every")?.parse::<Every>().ok()?,
        scope,
        name: name.to_owned(),
        active: None,
        next: None,
        last: None,
        last_result: None,
    })
}

/// The name of the units for an escaped path. One that would be too long is cut, and gets a sign of the whole instead.
pub(crate) fn stem(escaped: &str) -> String {
    let most = NAME_BYTES - PREFIX.len() - ".service".len();
    if escaped.len() <= most {
        return format!("{PREFIX}{escaped}");
    }
    let sign = format!("_{:016x}", sign(escaped.as_bytes()));
    // Plain characters only: any place is a border between two.
    format!("{PREFIX}{}{sign}", &escaped[..most - sign.len()])
}

/// FNV-1a: two long names that begin alike are to be told apart, nothing more.
fn sign(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// The path for people, in a value that knows specifiers and no escapes. In quotes, because a backslash at the end of a line
/// would join it with the next.
fn shown(path: &str) -> String {
    let mut out = String::from('"');
    for c in path.chars() {
        match c {
            '%' => out.push_str("%%"),
            _ if c.is_control() => out.extend(c.escape_default()),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What becomes of a dollar sign: in arguments it would begin the name of a variable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dollar {
    Plain,
    Doubled,
}

/// A word of a command line, in quotes, in which systemd finds neither escapes, specifiers nor the end of a line.
fn word(text: &str, dollar: Dollar) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '%' => out.push_str("%%"),
            '$' if dollar == Dollar::Doubled => out.push_str("$$"),
            _ if c.is_control() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    write!(out, "\\x{byte:02x}").expect("a String takes everything");
                }
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}
