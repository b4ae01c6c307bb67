//! Packs the shipped patterns for the binary: without comments, examples and
//! scenarios, which only `test` reads, from the files themselves. They are
//! two thirds of the text, and each node would keep them in memory.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let patterns = Path::new(&root).join("patterns");
    println!("cargo::rerun-if-changed={}", patterns.display());
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&patterns)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yaml") {
            println!("cargo::rerun-if-changed=patterns/{name}");
            names.push(name);
        }
    }
    names.sort();
    let mut list = String::from("&[\n");
    for name in &names {
        let text = fs::read_to_string(patterns.join(name))?;
        fs::write(Path::new(&out).join(name), pack(&text))?;
        list.push_str(&format!(
            "(\"{name}\", include_str!(concat!(env!(\"OUT_DIR\"), \
             \"/{name}\"))),\n"
        ));
    }
    list.push_str("]\n");
    fs::write(Path::new(&out).join("builtin.rs"), list)
}

/// The text without comment lines and without the blocks under `examples:`
/// and `scenarios:`. A block ends at the next line that is indented no more
/// than its key; the list items of the shipped files are indented more.
fn pack(text: &str) -> String {
    let mut packed = String::new();
    let mut skipping: Option<usize> = None;
    for line in text.lines() {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = line.len() - content.len();
        if skipping.is_some_and(|key| indent > key) {
            continue;
        }
        skipping =
            matches!(content, "examples:" | "scenarios:").then_some(indent);
        if skipping.is_none() {
            packed.push_str(line);
            packed.push('\n');
        }
    }
    packed
}
