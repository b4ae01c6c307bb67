//! How the server is: its counters of errors, links, disks' states, an array
//! and heat. Everything is well.

use super::{Server, Writer, letter};

/// What a link of these cards and drives can do, and does.
const LINK: [(&str, &str); 4] = [
    ("max_link_width", "4"),
    ("max_link_speed", "16.0 GT/s PCIe"),
    ("current_link_width", "4"),
    ("current_link_speed", "16.0 GT/s PCIe"),
];

/// The counters of a function that reports errors, as the kernel prints them.
const COUNTERS: [(&str, &str); 3] = [
    ("aer_dev_correctable", "RxErr 0\nBadTLP 0\nTOTAL_ERR_COR 0"),
    ("aer_dev_nonfatal", "DLP 0\nCmpltTO 0\nTOTAL_ERR_NONFATAL 0"),
    ("aer_dev_fatal", "DLP 0\nSDES 0\nTOTAL_ERR_FATAL 0"),
];

impl Server {
    /// A controller for eight modules: `mc1/dimm3`.
    pub(super) fn controller_of(&self, module: usize) -> String {
        format!("mc/mc{}/dimm{}", module / 8, module % 8)
    }

    /// Adds it to the tree.
    pub(super) fn health(&self, tree: &Writer) {
        tree.text("proc/uptime", "864000.00 1.00");
        tree.text("proc/meminfo", "HardwareCorrupted:     0 kB");
        tree.text("proc/sys/kernel/random/boot_id", "the-first-boot");
        for n in 0..self.dimms.len() {
            let dir =
                format!("sys/devices/system/edac/{}", self.controller_of(n));
            for kind in ["ce", "ue"] {
                tree.text(&format!("{dir}/dimm_{kind}_count"), "0");
                let all = format!("{dir}/../{kind}_count");
                tree.text(&all, "0");
            }
        }
        self.disks_health(tree);
        processors(tree);
        let array = "Personalities : [raid1]\n\
            md0 : active raid1 sdb1[1] sda1[0]\n      \
            468719616 blocks super 1.2 [2/2] [UU]\n\nunused devices: <none>";
        tree.text("proc/mdstat", array);
        for (slot, member) in ["sda1", "sdb1"].iter().enumerate() {
            let dir = format!("sys/block/md0/md/dev-{member}");
            tree.text(&format!("{dir}/state"), "in_sync");
            tree.text(&format!("{dir}/slot"), &slot.to_string());
            tree.text(&format!("{dir}/errors"), "0");
        }
    }

    fn disks_health(&self, tree: &Writer) {
        for (n, drive) in self.nvme.iter().enumerate() {
            tree.text(&format!("sys/class/nvme/nvme{n}/state"), "live");
            let slot: usize = drive.place.parse().unwrap();
            let ports = [
                format!("0000:{:02x}:00.0", 0x5e + slot),
                format!("0000:5d:{slot:02x}.0"),
            ];
            for function in ports {
                let dir = format!("sys/bus/pci/devices/{function}");
                for (file, text) in LINK.iter().chain(&COUNTERS) {
                    tree.text(&format!("{dir}/{file}"), text);
                }
            }
        }
        for n in 0..self.sas.len() + self.sata.len() {
            let name = format!("sd{}", letter(n));
            tree.text(
                &format!("sys/class/block/{name}/device/state"),
                "running",
            );
            let errors = format!("sys/class/block/{name}/device/ioerr_cnt");
            tree.text(&errors, "0x0");
            let at = format!("sys/class/block/{name}");
            let real = std::fs::canonicalize(tree.root.join(at)).unwrap();
            let root = std::fs::canonicalize(&tree.root).unwrap();
            let real = real.strip_prefix(root).unwrap();
            tree.link(&format!("sys/block/{name}"), real.to_str().unwrap());
        }
    }
}

fn processors(tree: &Writer) {
    let dir = "sys/devices/system/cpu";
    for list in ["present", "online"] {
        tree.text(&format!("{dir}/{list}"), "0-15");
    }
    for cpu in 0..16 {
        tree.text(
            &format!("{dir}/cpu{cpu}/topology/core_id"),
            &cpu.to_string(),
        );
        let dir = format!("{dir}/cpu{cpu}/thermal_throttle");
        for scope in ["core", "package"] {
            tree.text(&format!("{dir}/{scope}_throttle_count"), "0");
            let time = format!("{dir}/{scope}_throttle_total_time_ms");
            tree.text(&time, "0");
        }
    }
}
