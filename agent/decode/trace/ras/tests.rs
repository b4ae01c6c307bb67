use proptest::prelude::*;

use super::super::page::Layout;
use super::*;

macro_rules! recorded {
    ($path:literal) => {
        include_str!(concat!(
            "../../../../fixtures/trace/debian-6.1/events/",
            $path
        ))
    };
}

const FORMATS: [&str; 7] = [
    recorded!("mce/mce_record/format"),
    recorded!("ras/mc_event/format"),
    recorded!("ras/extlog_mem_event/format"),
    recorded!("ras/aer_event/format"),
    recorded!("ras/memory_failure_event/format"),
    recorded!("ras/non_standard_event/format"),
    recorded!("ras/arm_event/format"),
];

fn format(i: usize) -> Format {
    Format::parse(FORMATS[i]).unwrap()
}

fn reader(i: usize) -> Reader {
    Reader::new(&format(i)).unwrap()
}

/// A record of event `i` with these fields; texts are put behind it.
fn record(i: usize, fields: &[(&str, u64)], texts: &[(&str, &str)]) -> Vec<u8> {
    let mut record = vec![0; 160];
    let format = format(i);
    let mut put = |name: &str, bytes: &[u8]| {
        let slot = format.slot(name).unwrap();
        let (from, size) = (slot.offset(), slot.size());
        record[from..from + size].copy_from_slice(&bytes[..size]);
    };
    for (name, value) in fields {
        put(name, &value.to_ne_bytes());
    }
    let mut end = 160;
    for (name, text) in texts {
        let length = text.len() + 1;
        let location = (length as u32) << 16 | end as u32;
        put(name, &location.to_ne_bytes());
        end += length;
    }
    for (_, text) in texts {
        record.extend(text.as_bytes());
        record.push(0);
    }
    record
}

#[test]
fn recorded_events_tell_what_the_kernel_printed_of_them() {
    let page =
        include_bytes!("../../../../fixtures/trace/debian-6.1/mixed.pages");
    let layout = Layout::parse(
        recorded!("header_page"),
        recorded!("header_event"),
        None,
    );
    let readers: Vec<Reader> = (0..7).map(reader).collect();
    let told: Vec<Told> = layout
        .unwrap()
        .page(page)
        .unwrap()
        .filter_map(|r| {
            let id = u64::from(u16::from_ne_bytes([r.data[0], r.data[1]]));
            readers.iter().find(|x| x.id == id)?.read(r.data)
        })
        .collect();
    let [Told::MachineCheck(check), Told::Aer(aer), failed] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(check.status, 0x8c00_0040_0001_0090);
    assert_eq!((check.addr, check.bank), (Some(0x1234_5000), Some(9)));
    assert_eq!((check.tsc, check.vendor), (Some(0), Some(Vendor::Amd)));
    assert_eq!((check.ppin, check.microcode), (None, None), "not in 6.1");
    assert_eq!((aer.device.as_str(), aer.status), ("0000:01:00.0", 0x4000));
    assert_eq!(aer.grade, AerGrade::NonFatal);
    assert_eq!(aer.names().collect::<Vec<_>>(), ["CmpltTO"]);
    let ignored = Told::PageFailed { pfn: 0x1000, result: "ignored" };
    assert_eq!(failed, &ignored);
}

#[test]
fn a_dimm_error_has_its_label_its_place_and_its_count() {
    let fields = [
        ("error_count", 3),
        ("mc_index", 1),
        ("top_layer", 2),
        ("middle_layer", 0),
        ("lower_layer", u64::MAX),
        ("address", 0x1f8f_8040),
    ];
    let texts =
        [("label", "CPU_SrcID#1_MC#1_Chan#2_DIMM#0"), ("msg", "read error")];
    let Some(Told::Memory(memory)) =
        reader(1).read(&record(1, &fields, &texts))
    else {
        panic!("nothing told");
    };
    assert_eq!(memory.grade, Grade::Corrected);
    assert_eq!((memory.count, memory.mc), (3, Some(1)));
    assert_eq!(memory.label, "CPU_SrcID#1_MC#1_Chan#2_DIMM#0");
    assert_eq!(memory.layers, Some([2, 0, -1]));
    assert_eq!((memory.address, memory.syndrome), (Some(0x1f8f_8040), None));
    let info = record(1, &[("error_type", 4)], &texts);
    assert_eq!(reader(1).read(&info), None, "information is no error");
}

#[test]
fn firmware_names_the_part_as_it_pleases() {
    let fields = [("sev", 2), ("pa", 0x4000)];
    let extlog = record(2, &fields, &[("fru_text", "DIMM_A1\x07 ")]);
    let Some(Told::Memory(memory)) = reader(2).read(&extlog) else {
        panic!("nothing told");
    };
    assert_eq!((memory.label.as_str(), memory.firmware), ("DIMM_A1", true));
    let mut other = record(5, &[("sev", 1)], &[("fru_text", "PSU")]);
    let guid: Vec<u8> = (0..16).collect();
    other[8..24].copy_from_slice(&guid);
    let section = "03020100-0504-0706-0809-0a0b0c0d0e0f".into();
    let (grade, fru) = (Grade::Fatal, "PSU".into());
    let told = Told::NonStandard { grade, fru, section };
    assert_eq!(reader(5).read(&other), Some(told));
}

#[test]
fn errors_of_a_function_are_named_as_in_the_kernels_counters() {
    let names = |grade, status| {
        let aer = Aer { device: String::new(), grade, status };
        aer.names().collect::<Vec<_>>()
    };
    assert_eq!(
        names(AerGrade::Correctable, 0x1041),
        ["RxErr", "BadTLP", "Timeout"]
    );
    assert_eq!(names(AerGrade::Fatal, 1 << 4 | 1 << 18), ["DLP", "MalfTLP"]);
    assert_eq!(names(AerGrade::Correctable, 1 << 30), ["unknown"]);
    assert!(names(AerGrade::Fatal, 0).is_empty());
}

#[test]
fn other_events_are_not_read() {
    let text = "name: sched_switch\nID: 1\n\
                field:u32 a;\toffset:8;\tsize:4;\tsigned:0;\n";
    assert!(Reader::new(&Format::parse(text).unwrap()).is_none());
}

proptest! {
    #[test]
    fn any_record_of_any_event_is_read_or_refused(
        i in 0usize..7, bytes in prop::collection::vec(any::<u8>(), 0..256),
    ) {
        let _ = reader(i).read(&bytes);
    }
}
