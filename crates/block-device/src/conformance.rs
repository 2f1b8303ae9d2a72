//! The laws as tests that every disk runs. Filled in next.
