//! Other people's programs.

use std::process::Command;

/// What a program printed. `None`, with a word, if it does not run and need not.
pub(crate) fn tool(name: &str, arguments: &[&str]) -> Option<String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let why = match Command::new(name).args(arguments).env("PATH", path).env("LC_ALL", "C").output() {
        Ok(done) if done.status.success() => return Some(String::from_utf8_lossy(&done.stdout).into_owned()),
        Ok(done) => format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)),
        Err(error) => error.to_string(),
    };
    assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|all| all != "1"), "{name} {arguments:?}: {why}");
    eprintln!("skipped: {name} {arguments:?}: {why}");
    None
}
