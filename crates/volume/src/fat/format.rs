//! Formats a FAT volume. To be written.
