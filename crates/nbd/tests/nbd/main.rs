//! The server from a client's side: byte by byte, malformed, many at once, and judged by libnbd, qemu and fio.

mod background;
mod client;
mod handshake;
mod many_clients;
mod oracle;
mod peers;
mod replies;
mod requests;
mod seeded;
mod server;
mod splice;
mod stopping;
mod sys_unix;
