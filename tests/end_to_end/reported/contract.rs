//! The REST contract: generators and fuzzers accept it.
