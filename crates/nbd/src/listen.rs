//! Where a server listens, and how that is told to people.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use block_device::{Error, ErrorKind, Result};

/// Where a server listens.
///
/// Parsed from `unix:PATH` and `tcp:HOST:PORT`; a host name is looked up, and its loopback address preferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A UNIX socket of mode 0600 at a path where nothing stands yet. Removed at the end.
    Unix(PathBuf),
    /// The same; but a socket there that nobody answers on, as a killed server leaves it, is replaced. For a caller who
    /// knows that no other server is about to use this path.
    UnixReplacingStale(PathBuf),
    /// TCP on this machine: any address but a loopback one is refused. Port 0 lets the system choose.
    Tcp(SocketAddr),
    /// TCP on any address. Whoever reaches it reads and writes the disk: NBD has no passwords, and here no encryption.
    TcpRemote(SocketAddr),
    /// The listening socket that systemd, or another that speaks its protocol, passed on (LISTEN_FDS, LISTEN_PID).
    Inherited,
}

impl Listen {
    /// The same, with any TCP address allowed. For a caller whose user has asked for that by name.
    #[must_use]
    pub fn allow_remote(self) -> Self {
        match self {
            Self::Tcp(address) => Self::TcpRemote(address),
            other => other,
        }
    }
}

impl FromStr for Listen {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |because: String| {
            let advice = if crate::HAS_UNIX_SOCKETS {
                "write unix:PATH or tcp:HOST:PORT, such as unix:/run/user/1000/disk.sock or tcp:127.0.0.1:10809"
            } else {
                "write tcp:HOST:PORT, such as tcp:127.0.0.1:10809"
            };
            Error::new(ErrorKind::InvalidInput, "use to listen").at_path(text).because(because).advise(advice)
        };
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(PathBuf::from(path))),
            Some(("tcp", address)) if !address.is_empty() => {
                let found =
                    address.to_socket_addrs().map_err(|error| wrong("no such address".into()).caused_by(error))?;
                let found: Vec<SocketAddr> = found.collect();
                let loopback = found.iter().find(|address| address.ip().is_loopback());
                let address = loopback.or(found.first()).ok_or_else(|| wrong("the name has no address".into()))?;
                Ok(Self::Tcp(*address))
            }
            _ => Err(wrong("it is neither unix:PATH nor tcp:HOST:PORT".into())),
        }
    }
}

/// An address clients can connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// An absolute path.
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Address {
    /// The NBD URI of the default export.
    pub(crate) fn uri(&self) -> String {
        match self {
            Self::Unix(path) => format!("nbd+unix:///?socket={}", percent_encoded(path)),
            Self::Tcp(address) => format!("nbd://{}", reachable(*address)),
        }
    }

    /// How to connect: the URI, a line for qemu, a line for nbd-client.
    pub(crate) fn connect_lines(&self) -> Vec<String> {
        let uri = self.uri();
        let client = match self {
            Self::Unix(path) => format!("nbd-client -unix {} /dev/nbd0", shell_quoted(&path.to_string_lossy())),
            Self::Tcp(address) => {
                let address = reachable(*address);
                format!("nbd-client {} {} /dev/nbd0", address.ip(), address.port())
            }
        };
        let qemu = format!("qemu-system-x86_64 -drive 'file={uri},format=raw,if=virtio,discard=unmap'");
        vec![uri, qemu, client]
    }
}

/// The address a client on this machine uses: "any address" is no address to connect to.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// A path as a value in a URI's query (RFC 3986): everything but unreserved characters and `/` is encoded. That also
/// leaves no character that a shell in single quotes, or qemu's `-drive`, takes for its own.
fn percent_encoded(path: &Path) -> String {
    let mut encoded = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes everything");
        }
    }
    encoded
}

/// A word for a POSIX shell, quoted if it must be.
fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/+:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_encoded_in_the_uri_and_quoted_for_the_shell() {
        let address = Address::Unix("/tmp/my disk,100%'.sock".into());
        let lines = address.connect_lines();
        assert_eq!(lines[0], "nbd+unix:///?socket=/tmp/my%20disk%2C100%25%27.sock");
        assert!(lines[1].contains(&format!("'file={},format=raw", lines[0])));
        assert_eq!(lines[2], r"nbd-client -unix '/tmp/my disk,100%'\''.sock' /dev/nbd0");
    }

    #[test]
    fn an_unspecified_address_is_shown_as_loopback() {
        assert_eq!(Address::Tcp("0.0.0.0:10809".parse().unwrap()).uri(), "nbd://127.0.0.1:10809");
        assert_eq!(Address::Tcp("[::]:1".parse().unwrap()).uri(), "nbd://[::1]:1");
        let lines = Address::Tcp("127.0.0.1:10809".parse().unwrap()).connect_lines();
        assert_eq!(lines[2], "nbd-client 127.0.0.1 10809 /dev/nbd0");
    }

    #[test]
    fn listen_is_parsed_and_what_is_not_an_address_is_named() {
        assert_eq!("unix:/a:b".parse::<Listen>().unwrap(), Listen::Unix("/a:b".into()));
        assert_eq!("tcp:127.0.0.1:0".parse::<Listen>().unwrap(), Listen::Tcp("127.0.0.1:0".parse().unwrap()));
        for wrong in ["", "unix:", "tcp:", "tcp:127.0.0.1", "tcp:127.0.0.1:99999", "/a", "vsock:1:2"] {
            let error = wrong.parse::<Listen>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong}");
            assert!(error.advice().is_some_and(|advice| advice.contains("tcp:HOST:PORT")), "{error}");
        }
    }
}
