//! Writes a partition table. To be written.
