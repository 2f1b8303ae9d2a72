//! The server from a client's side: byte by byte, malformed, many at once, and judged by libnbd, qemu and fio.

mod client;
mod handshake;
mod many_clients;
mod peers;
mod replies;
mod requests;
mod server;
mod stopping;
mod sys_unix;
