//! Any bytes as a client's handshake: every option gets exactly its replies, however the bytes arrive.
#![no_main]

#[path = "../../crates/nbd/tests/nbd/oracle.rs"]
#[allow(dead_code)]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| oracle::handshake(input));
