//! A large server as a directory: `/proc` and `/sys` with two sockets, memory
//! modules, NVMe drives in slots, SAS disks in an enclosure, network
//! functions and accelerators, made from a description that a test changes.

mod health;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A memory module: slot, bank, serial number.
#[derive(Clone, Debug)]
pub struct Dimm {
    pub slot: String,
    pub bank: String,
    pub serial: String,
}

/// A drive or power supply: where, and its serial number.
#[derive(Clone, Debug)]
pub struct Unit {
    pub place: String,
    pub serial: String,
}

/// What the server consists of.
#[derive(Clone, Debug)]
pub struct Server {
    pub board: String,
    pub dimms: Vec<Dimm>,
    pub supplies: Vec<Unit>,
    /// NVMe drives by slot; the order of names is the order of the list.
    pub nvme: Vec<Unit>,
    /// SAS disks by bay; `sda` is the first.
    pub sas: Vec<Unit>,
    /// SATA disks by port; their names follow the SAS disks'.
    pub sata: Vec<Unit>,
    /// Whether the second port of the network card is in this namespace.
    pub second_port: bool,
    /// Whether the table of the firmware can be read to its end.
    pub table_complete: bool,
}

impl Server {
    /// Two sockets, 16 modules, 2 supplies, 4 NVMe drives, 6 SAS and 2 SATA
    /// disks.
    pub fn large() -> Server {
        let unit = |place: String, serial: String| Unit { place, serial };
        let slots = (0..16).map(|n| {
            let (cpu, channel) = (n / 8 + 1, (b'A' + n as u8 % 8) as char);
            Dimm {
                slot: format!("P{cpu}-DIMM{channel}1"),
                bank: format!("P{}_Node0_Channel{}_Dimm0", cpu - 1, n % 8),
                serial: format!("36A1B2{:02X}", 0x40 + n),
            }
        });
        Server {
            board: "ZM21BS0042".into(),
            dimms: slots.collect(),
            supplies: (1..=2)
                .map(|n| unit(format!("PSU{n}"), format!("P2K4ACK11BT00{n}")))
                .collect(),
            nvme: (0..4)
                .map(|n| unit(format!("{}", n + 1), format!("S64GNE0R7{n}1")))
                .collect(),
            sas: (0..6)
                .map(|n| unit(format!("{n}"), format!("ZC1A{n}X7Q0000")))
                .collect(),
            sata: (0..2)
                .map(|n| unit(format!("{}", n + 1), format!("PHYF9{n}240AB")))
                .collect(),
            second_port: true,
            table_complete: true,
        }
    }

    /// Two sockets, 32 modules, 24 NVMe drives, and the rest as above.
    pub fn largest() -> Server {
        let mut server = Server::large();
        server.dimms = (0..32)
            .map(|n| {
                let (cpu, slot) = (n / 16 + 1, n % 16 / 8 + 1);
                let channel = (b'A' + n as u8 % 8) as char;
                Dimm {
                    slot: format!("P{cpu}-DIMM{channel}{slot}"),
                    bank: format!(
                        "P{}_Node0_Channel{}_Dimm{}",
                        cpu - 1,
                        n % 8,
                        slot - 1
                    ),
                    serial: format!("36A1B2{:02X}", 0x40 + n),
                }
            })
            .collect();
        server.nvme = (0..24)
            .map(|n| Unit {
                place: format!("{}", n + 1),
                serial: format!("S64GNE0R7{n:02}1"),
            })
            .collect();
        server
    }

    /// Writes the tree below `root`, in place of what was there.
    pub fn write(&self, root: &Path) {
        for old in ["sys", "proc"] {
            // The first time there is nothing to remove.
            let _ = fs::remove_dir_all(root.join(old));
        }
        let tree = Writer { root: root.to_owned() };
        self.firmware(&tree);
        processors(&tree);
        self.memory_controllers(&tree);
        self.drives(&tree);
        self.sas_disks(&tree);
        self.sata_disks(&tree);
        self.network(&tree);
        accelerators(&tree);
        volume(&tree);
    }

    /// The same, with all that tells how it is: a tree of some thousand
    /// files.
    pub fn write_with_health(&self, root: &Path) {
        self.write(root);
        self.health(&Writer { root: root.to_owned() });
    }

    fn firmware(&self, tree: &Writer) {
        let dir = "sys/firmware/dmi/tables";
        let mut table = Vec::new();
        let system = ["Supermicro", "SYS-220U-TNR", "0123456789", "A400312X0"];
        structure(&mut table, 1, &[1, 2, 3, 4], 27, &system);
        let board = ["Supermicro", "X12DPU-6", "1.02", &self.board];
        structure(&mut table, 2, &[1, 2, 3, 4], 15, &board);
        for socket in 1..=2 {
            let mut body = vec![0; 0x26];
            body[0] = 1; // designation
            body[1] = 3; // a central processor
            body[3] = 2; // manufacturer
            body[0x10 - 4] = 3;
            body[0x18 - 4] = 0x41;
            let name = format!("CPU{socket}");
            let model = "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz";
            raw(&mut table, 4, &body, &[&name, "Intel", model]);
        }
        for dimm in &self.dimms {
            memory_structure(&mut table, dimm);
        }
        // An empty slot is no module.
        let mut empty = vec![0; 0x28 - 4];
        empty[0x10 - 4] = 1;
        raw(&mut table, 17, &empty, &["P1-DIMMA2", "NO DIMM"]);
        for supply in &self.supplies {
            let mut body = vec![0; 22 - 4];
            body[1..7].copy_from_slice(&[1, 2, 3, 4, 0, 5]);
            body[0x0e - 4] = 0b11;
            let strings = [
                &*supply.place,
                "PWS-1K24A",
                "SUPERMICRO",
                &supply.serial,
                "PWS-1K24A-1R",
            ];
            raw(&mut table, 39, &body, &strings);
        }
        if self.table_complete {
            raw(&mut table, 127, &[], &[]);
        }
        tree.bytes(&format!("{dir}/DMI"), &table);
        let mut entry = b"_SM3_\0\x18\x03\x03\0\x01\0".to_vec();
        entry.extend((table.len() as u32).to_le_bytes());
        entry.extend([0; 8]);
        tree.bytes(&format!("{dir}/smbios_entry_point"), &entry);
    }

    fn memory_controllers(&self, tree: &Writer) {
        for (n, dimm) in self.dimms.iter().enumerate() {
            let dir =
                format!("sys/devices/system/edac/{}", self.controller_of(n));
            // As ghes_edac labels them: bank and slot.
            let label = format!("{} {}", dimm.bank, dimm.slot);
            tree.text(&format!("{dir}/dimm_label"), &label);
            let location = format!("memory {} ", n % 8);
            tree.text(&format!("{dir}/dimm_location"), &location);
            tree.text(&format!("{dir}/size"), "32768");
        }
    }

    /// NVMe drives behind root ports, each in a hot-plug slot.
    fn drives(&self, tree: &Writer) {
        for (n, drive) in self.nvme.iter().enumerate() {
            let slot: usize = drive.place.parse().unwrap();
            let bus = 0x5e + slot;
            let port = format!("0000:5d:{slot:02x}.0");
            let bdf = format!("0000:{bus:02x}:00.0");
            let dir = format!("sys/devices/pci0000:5d/{port}");
            tree.function(&dir, &port, "0x060400", "0x8086", "0x347a", None);
            let dir = format!("{dir}/{bdf}");
            let driver = Some("nvme");
            tree.function(&dir, &bdf, "0x010802", "0x144d", "0xa824", driver);
            let slots = format!("sys/bus/pci/slots/{slot}");
            tree.text(&format!("{slots}/address"), &bdf[..10]);
            let name = format!("nvme{n}");
            let dir = format!("{dir}/nvme/{name}");
            tree.text(&format!("{dir}/serial"), &pad(&drive.serial, 20));
            tree.text(&format!("{dir}/model"), &pad("SAMSUNG MZQL23T8", 40));
            tree.text(&format!("{dir}/firmware_rev"), "GDC5602Q");
            tree.text(&format!("{dir}/transport"), "pcie");
            tree.text(&format!("{dir}/address"), &bdf);
            tree.text(&format!("{dir}/{name}n1/size"), "7501476528");
            tree.text(&format!("{dir}/{name}n1/{name}n1p1/partition"), "1");
            tree.class("nvme", &name, &dir);
            tree.class(
                "block",
                &format!("{name}n1"),
                &format!("{dir}/{name}n1"),
            );
            let partition = format!("{dir}/{name}n1/{name}n1p1");
            tree.class("block", &format!("{name}n1p1"), &partition);
        }
    }

    fn sas_disks(&self, tree: &Writer) {
        let hba = "sys/devices/pci0000:17/0000:17:02.0/0000:18:00.0";
        let port = "0000:17:02.0";
        tree.function(
            "sys/devices/pci0000:17/0000:17:02.0",
            port,
            "0x060400",
            "0x8086",
            "0x347b",
            None,
        );
        let driver = Some("mpt3sas");
        tree.function(
            hba,
            "0000:18:00.0",
            "0x010700",
            "0x1000",
            "0x00e6",
            driver,
        );
        let host = format!("{hba}/host0/scsi_host/host0");
        tree.text(&format!("{host}/proc_name"), "mpt3sas");
        tree.text(&format!("{host}/unique_id"), "0");
        tree.text(&format!("{host}/board_name"), "HBA 9500-16i");
        tree.text(&format!("{host}/board_tracer"), "SPC4127311");
        tree.class("scsi_host", "host0", &host);
        for (n, disk) in self.sas.iter().enumerate() {
            let hctl = format!("0:0:{n}:0");
            let device = format!(
                "{hba}/host0/port-0:0/expander-0:0/port-0:0:{n}/\
                 end_device-0:0:{n}/target0:0:{n}/{hctl}"
            );
            let name = format!("sd{}", letter(n));
            let wwid = format!("naa.5000c500{}", hex(&disk.serial));
            tree.text(&format!("{device}/vendor"), "SEAGATE ");
            tree.text(&format!("{device}/model"), "ST16000NM002G   ");
            tree.text(&format!("{device}/rev"), "E004");
            tree.text(&format!("{device}/wwid"), &wwid);
            tree.bytes(&format!("{device}/vpd_pg80"), &page80(&disk.serial));
            let block = format!("{device}/block/{name}");
            tree.text(&format!("{block}/removable"), "0");
            tree.text(&format!("{block}/{name}1/partition"), "1");
            tree.link(&format!("{block}/device"), &device);
            tree.class("block", &name, &block);
            tree.class(
                "block",
                &format!("{name}1"),
                &format!("{block}/{name}1"),
            );
            let bay = format!(
                "sys/class/enclosure/0:0:24:0/Slot{:02}",
                disk.place.parse::<u32>().unwrap()
            );
            tree.text(&format!("{bay}/status"), "OK");
            tree.text(&format!("{bay}/slot"), &disk.place);
            tree.link(&format!("{bay}/device"), &device);
        }
        tree.text("sys/class/enclosure/0:0:24:0/id", "0x500304801f1e2a3f");
    }

    fn sata_disks(&self, tree: &Writer) {
        let ahci = "sys/devices/pci0000:00/0000:00:17.0";
        let driver = Some("ahci");
        tree.function(
            ahci,
            "0000:00:17.0",
            "0x010601",
            "0x8086",
            "0xa1d2",
            driver,
        );
        for (n, disk) in self.sata.iter().enumerate() {
            let port: usize = disk.place.parse().unwrap();
            let (ata, host) = (port + 2, port + 3);
            let hctl = format!("{host}:0:0:0");
            let dir = format!("{ahci}/ata{ata}");
            let number = format!("{dir}/ata_port/ata{ata}");
            tree.text(&format!("{number}/port_no"), &disk.place);
            tree.class("ata_port", &format!("ata{ata}"), &number);
            let scsi = format!("{dir}/host{host}/scsi_host/host{host}");
            tree.text(&format!("{scsi}/proc_name"), "ahci");
            tree.class("scsi_host", &format!("host{host}"), &scsi);
            let device = format!("{dir}/host{host}/target{host}:0:0/{hctl}");
            let name = format!("sd{}", letter(self.sas.len() + n));
            tree.text(&format!("{device}/vendor"), "ATA     ");
            tree.text(&format!("{device}/model"), "INTEL SSDSC2KB24");
            let wwid = format!("t10.ATA     INTEL_SSDSC2KB24  {}", disk.serial);
            tree.text(&format!("{device}/wwid"), &wwid);
            tree.bytes(&format!("{device}/vpd_pg80"), &page80(&disk.serial));
            let block = format!("{device}/block/{name}");
            tree.text(&format!("{block}/removable"), "0");
            tree.text(&format!("{block}/{name}2/partition"), "2");
            tree.link(&format!("{block}/device"), &device);
            tree.class("block", &name, &block);
        }
    }

    /// A card with two functions, and a virtual function of the first.
    fn network(&self, tree: &Writer) {
        let port = "sys/devices/pci0000:3a/0000:3a:00.0";
        tree.function(
            port,
            "0000:3a:00.0",
            "0x060400",
            "0x8086",
            "0x347c",
            None,
        );
        tree.text("sys/bus/pci/slots/7/address", "0000:3b:00");
        let driver = Some("mlx5_core");
        for function in 0..2 {
            let bdf = format!("0000:3b:00.{function}");
            let dir = format!("{port}/{bdf}");
            tree.function(&dir, &bdf, "0x020000", "0x15b3", "0x101d", driver);
            if function == 1 && !self.second_port {
                continue;
            }
            let name = format!("ens7f{function}np{function}");
            let net = format!("{dir}/net/{name}");
            let address = format!("0c:42:a1:5e:10:0{function}");
            tree.text(&format!("{net}/address"), &address);
            tree.text(&format!("{net}/addr_assign_type"), "0");
            tree.class("net", &name, &net);
        }
        let dir = format!("{port}/0000:3b:00.2");
        tree.function(
            &dir,
            "0000:3b:00.2",
            "0x020000",
            "0x15b3",
            "0x101e",
            driver,
        );
        tree.link(&format!("{dir}/physfn"), &format!("{port}/0000:3b:00.0"));
        let net = format!("{dir}/net/ens7f0v0");
        tree.text(&format!("{net}/address"), "ea:11:22:33:44:55");
        tree.text(&format!("{net}/addr_assign_type"), "1");
        tree.class("net", "ens7f0v0", &net);
        tree.text("sys/devices/virtual/net/lo/address", "00:00:00:00:00:00");
        tree.class("net", "lo", "sys/devices/virtual/net/lo");
    }
}

/// One used by this kernel, one lent to a guest.
fn accelerators(tree: &Writer) {
    for (bus, driver) in [("af", "nvidia"), ("d8", "vfio-pci")] {
        let bridge =
            format!("0000:{}:00.0", if bus == "af" { "ae" } else { "d7" });
        let dir = format!("sys/devices/pci{}/{bridge}", &bridge[..7]);
        tree.function(&dir, &bridge, "0x060400", "0x8086", "0x347d", None);
        let bdf = format!("0000:{bus}:00.0");
        let dir = format!("{dir}/{bdf}");
        tree.function(&dir, &bdf, "0x030200", "0x10de", "0x20b5", Some(driver));
    }
    tree.text(
        "proc/driver/nvidia/gpus/0000:af:00.0/information",
        "Model: \t\t NVIDIA A100 80GB PCIe\nIRQ:   \t\t 410\nGPU UUID: \t \
         GPU-5d3a2b1c-1f2e-3d4c-5b6a-79880a1b2c3d\n",
    );
}

/// A volume over iSCSI, through two paths, and the map over them.
fn volume(tree: &Writer) {
    for (name, session) in [("sdy", 1), ("sdz", 2)] {
        let host = 20 + session;
        let device = format!(
            "sys/devices/platform/host{host}/session{session}/\
             target{host}:0:0/{host}:0:0:1"
        );
        tree.text(&format!("{device}/vendor"), "LIO-ORG ");
        tree.text(&format!("{device}/model"), "pvc-42          ");
        let wwid = "naa.60014051a2b3c4d5e6f708192a3b4c5d";
        tree.text(&format!("{device}/wwid"), wwid);
        let block = format!("{device}/block/{name}");
        tree.text(&format!("{block}/removable"), "0");
        tree.link(&format!("{block}/device"), &device);
        tree.class("block", name, &block);
        let map = "sys/devices/virtual/block/dm-0";
        tree.text(&format!("{map}/dm/name"), "mpatha");
        tree.link(&format!("{map}/slaves/{name}"), &block);
    }
    tree.class("block", "dm-0", "sys/devices/virtual/block/dm-0");
}

fn processors(tree: &Writer) {
    let mut info = String::new();
    for cpu in 0..16 {
        let dir = format!("sys/devices/system/cpu/cpu{cpu}/topology");
        let (socket, core) = (cpu / 8, cpu % 8);
        let package = format!("{dir}/physical_package_id");
        tree.text(&package, &socket.to_string());
        let apic = 64 * socket + core;
        info.push_str(&format!(
            "processor\t: {cpu}\nmodel name\t: Intel(R) Xeon(R) Gold 6338 \
             CPU @ 2.00GHz\napicid\t\t: {apic}\ninitial apicid\t: {apic}\n\
             flags\t\t: fpu vme de pse\n\n"
        ));
    }
    tree.text("proc/cpuinfo", &info);
}

fn memory_structure(table: &mut Vec<u8>, dimm: &Dimm) {
    let mut body = vec![0; 0x28 - 4];
    body[0x0c - 4..0x0e - 4].copy_from_slice(&0x7fff_u16.to_le_bytes());
    body[0x10 - 4] = 1;
    body[0x11 - 4] = 2;
    body[0x17 - 4] = 3;
    body[0x18 - 4] = 4;
    body[0x1a - 4] = 5;
    body[0x1c - 4..0x20 - 4].copy_from_slice(&32768_u32.to_le_bytes());
    let strings =
        [&*dimm.slot, &dimm.bank, "Samsung", &dimm.serial, "M393A4K40DB3-CWE"];
    raw(table, 17, &body, &strings);
}

/// A structure whose strings are numbered from its first byte on.
fn structure(
    table: &mut Vec<u8>,
    kind: u8,
    numbers: &[u8],
    length: usize,
    strings: &[&str],
) {
    let mut body = numbers.to_vec();
    body.resize(length - 4, 0);
    raw(table, kind, &body, strings);
}

/// A structure: header, body, strings (DSP0134, 6.1).
pub fn raw(table: &mut Vec<u8>, kind: u8, body: &[u8], strings: &[&str]) {
    let handle = (table.len() as u16).to_le_bytes();
    table.extend([kind, body.len() as u8 + 4, handle[0], handle[1]]);
    table.extend(body);
    for string in strings {
        table.extend(string.as_bytes());
        table.push(0);
    }
    if strings.is_empty() {
        table.push(0);
    }
    table.push(0);
}

fn page80(serial: &str) -> Vec<u8> {
    let mut page = vec![0, 0x80, 0, serial.len() as u8];
    page.extend(serial.as_bytes());
    page
}

fn pad(text: &str, width: usize) -> String {
    format!("{text:width$}")
}

fn letter(n: usize) -> char {
    (b'a' + n as u8) as char
}

/// Some eight digits that follow from the serial number.
fn hex(serial: &str) -> String {
    let sum = serial.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{sum:08x}")
}

struct Writer {
    root: PathBuf,
}

impl Writer {
    fn bytes(&self, path: &str, bytes: &[u8]) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn text(&self, path: &str, text: &str) {
        let text = if text.ends_with('\n') {
            text.into()
        } else {
            format!("{text}\n")
        };
        self.bytes(path, text.as_bytes());
    }

    /// A link as sysfs makes them: relative.
    fn link(&self, path: &str, target: &str) {
        let full = self.root.join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        let up = "../".repeat(path.matches('/').count());
        symlink(format!("{up}{target}"), full).unwrap();
    }

    fn class(&self, class: &str, name: &str, target: &str) {
        self.link(&format!("sys/class/{class}/{name}"), target);
    }

    fn function(
        &self,
        dir: &str,
        bdf: &str,
        class: &str,
        vendor: &str,
        device: &str,
        driver: Option<&str>,
    ) {
        self.text(&format!("{dir}/class"), class);
        self.text(&format!("{dir}/vendor"), vendor);
        self.text(&format!("{dir}/device"), device);
        if let Some(driver) = driver {
            let drivers = format!("sys/bus/pci/drivers/{driver}");
            fs::create_dir_all(self.root.join(&drivers)).unwrap();
            self.link(&format!("{dir}/driver"), &drivers);
        }
        self.link(&format!("sys/bus/pci/devices/{bdf}"), dir);
    }
}
