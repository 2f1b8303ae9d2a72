//! Any bytes as a sequence of requests: one reply a request, the error or the data a byte array would give, and the
//! same content at the end.
#![no_main]

#[path = "../../crates/nbd/tests/nbd/oracle.rs"]
#[allow(dead_code)]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| oracle::requests(input));
