//! Generates the wire types from `proto/`, without a `protoc` on the machine.

use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 6] = ["jobs", "workers", "cost", "capacity", "system", "access"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files: Vec<String> = FILES.iter().map(|f| format!("spotwise/v1/{f}.proto")).collect();
    let descriptors = protox::compile(&files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .btree_map(".")
        .message_attribute(
            ".",
            "#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)] \
             #[serde(default, deny_unknown_fields)]",
        )
        .compile_fds(descriptors)?;
    Ok(())
}
