//! The pattern packs that are compiled into the binary.

use super::parse::SourceFile;

/// Their names and texts, from `patterns/`.
const FILES: &[(&str, &str)] = &[
    ("cpu.yaml", include_str!("../../patterns/cpu.yaml")),
    ("memory.yaml", include_str!("../../patterns/memory.yaml")),
    ("disk.yaml", include_str!("../../patterns/disk.yaml")),
    ("nvme.yaml", include_str!("../../patterns/nvme.yaml")),
    ("raid.yaml", include_str!("../../patterns/raid.yaml")),
    ("filesystem.yaml", include_str!("../../patterns/filesystem.yaml")),
    ("pcie.yaml", include_str!("../../patterns/pcie.yaml")),
    ("network.yaml", include_str!("../../patterns/network.yaml")),
    ("power.yaml", include_str!("../../patterns/power.yaml")),
    ("thermal.yaml", include_str!("../../patterns/thermal.yaml")),
    ("gpu.yaml", include_str!("../../patterns/gpu.yaml")),
    ("kernel.yaml", include_str!("../../patterns/kernel.yaml")),
    ("hypervisor.yaml", include_str!("../../patterns/hypervisor.yaml")),
];

/// The built-in files.
pub fn files() -> Vec<SourceFile> {
    FILES
        .iter()
        .map(|(name, text)| SourceFile {
            name: format!("built-in {name}"),
            text: text.as_bytes().to_vec(),
            builtin: true,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_file_is_built_in() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/patterns");
        let mut shipped: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| n.ends_with(".yaml"))
            .collect();
        shipped.sort();
        let mut listed: Vec<&str> = FILES.iter().map(|(n, _)| *n).collect();
        listed.sort();
        assert_eq!(listed, shipped);
    }
}
