//! A checkpoint keeps what the file system has, and one file that grows does not block it.
