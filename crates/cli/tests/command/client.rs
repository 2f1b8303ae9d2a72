//! The smallest NBD client: it connects, writes, reads, flushes, one request at a time.

use std::io::{self, Read, Write};
use std::net::TcpStream;

const WRITE: u16 = 1;
const FLUSH: u16 = 3;
const REQUEST_MAGIC: u32 = 0x2560_9513;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

pub(crate) struct Client(Box<dyn Stream>);

impl Client {
    /// Connects to the default export at a UNIX socket.
    #[cfg(unix)]
    pub(crate) fn connect(socket: &std::path::Path) -> Self {
        Self::over(std::os::unix::net::UnixStream::connect(socket).expect("the server listens"))
    }

    /// Connects to the default export of what a server on TCP said when it started.
    pub(crate) fn connect_to(start: &serde_json::Value) -> Self {
        let address = start["uri"].as_str().and_then(|uri| uri.strip_prefix("nbd://")).expect("it listens on TCP");
        Self::over(TcpStream::connect(address).expect("the server listens"))
    }

    fn over(mut stream: impl Stream + 'static) -> Self {
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).expect("a greeting");
        assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
        // Fixed newstyle, no zeroes; then EXPORT_NAME with the empty name.
        let mut hello = 3u32.to_be_bytes().to_vec();
        hello.extend_from_slice(b"IHAVEOPT");
        hello.extend_from_slice(&1u32.to_be_bytes());
        hello.extend_from_slice(&0u32.to_be_bytes());
        stream.write_all(&hello).expect("it takes the option");
        stream.read_exact(&mut [0; 10]).expect("size and flags");
        Self(Box::new(stream))
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.request(WRITE, offset, u32::try_from(data.len()).expect("a small request"), data)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.request(FLUSH, 0, 0, &[])
    }

    fn request(&mut self, command: u16, offset: u64, len_bytes: u32, data: &[u8]) -> io::Result<()> {
        let mut request = REQUEST_MAGIC.to_be_bytes().to_vec();
        request.extend_from_slice(&0u16.to_be_bytes());
        request.extend_from_slice(&command.to_be_bytes());
        request.extend_from_slice(&7u64.to_be_bytes());
        request.extend_from_slice(&offset.to_be_bytes());
        request.extend_from_slice(&len_bytes.to_be_bytes());
        request.extend_from_slice(data);
        self.0.write_all(&request)?;
        let mut reply = [0; 16];
        self.0.read_exact(&mut reply)?;
        match u32::from_be_bytes(reply[4..8].try_into().expect("four bytes")) {
            0 => Ok(()),
            errno => Err(io::Error::other(format!("the server says error {errno}"))),
        }
    }
}
