//! Kinds of fault that users of other schedulers report, each tried on ours with
//! the real binaries. A file a kind.

mod checkpoints;
mod contract;
mod dependencies;
mod endings;
mod logs;
mod memory;
mod money;
mod names;
mod outputs;
mod quotes;
mod retries;
mod room;
mod scripts;
mod signals;
mod speed;
mod ways_back;
