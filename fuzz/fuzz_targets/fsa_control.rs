//! Arbitrary operations, control codes and bytes against the object store: no panic, and only documented statuses.
#![no_main]

#[path = "../../crates/fsa/tests/rules/byte_driven.rs"]
mod byte_driven;

libfuzzer_sys::fuzz_target!(|data: &[u8]| byte_driven::run(data));
