//! The fields of the observations that tracepoints give: errors of memory,
//! of PCIe functions, of ARM's processors.

use crate::decode::trace::ras::{Aer, Grade, Memory};
use crate::observation::Value;

/// An event tells of its own moment; counters of the time between readings.
pub(super) const SPAN: (&str, Value<'static>) = ("span", Value::Number(0.0));

/// Whether a label says which DIMM it is: EDAC joins those that it can't
/// tell apart by ` or `, and has words for knowing none
/// (edac_mc_handle_error, drivers/edac/edac_mc.c).
fn is_one_dimm(label: &str) -> bool {
    let none = ["any memory", "unknown memory", "unknown label"];
    !label.contains(" or ")
        && !none.iter().any(|n| label.eq_ignore_ascii_case(n))
}

/// The texts that an EDAC event's fields borrow.
pub(super) struct MemoryTexts {
    location: String,
    address: Option<String>,
    page: Option<String>,
    syndrome: Option<String>,
}

impl MemoryTexts {
    pub(super) fn of(memory: &Memory) -> MemoryTexts {
        let layers = memory.layers.into_iter().flatten();
        let known = layers.filter(|layer| *layer >= 0);
        let known: Vec<String> = known.map(|n| n.to_string()).collect();
        let location = match memory.firmware {
            true => "place not told".to_owned(),
            false => known.join(":"),
        };
        MemoryTexts {
            location,
            address: memory.address.map(|a| format!("{a:x}")),
            page: memory.address.map(|a| format!("{:x}", a >> 12)),
            syndrome: memory.syndrome.map(|s| format!("{s:x}")),
        }
    }
}

pub(super) fn memory_fields<'a>(
    memory: &'a Memory,
    texts: &'a MemoryTexts,
) -> Vec<(&'static str, Value<'a>)> {
    let mut fields = vec![
        ("kind", Value::Word(memory.grade.word())),
        ("unit", Value::Word("memory")),
        ("firmware", Value::Flag(memory.firmware)),
        ("count", Value::Number(memory.count as f64)),
        SPAN,
    ];
    if let Some(mc) = memory.mc {
        fields.push(("mc", Value::Number(mc as f64)));
    }
    let strings = [
        ("label", Some(&memory.label).filter(|label| is_one_dimm(label))),
        ("location", Some(&texts.location)),
        ("error", Some(&memory.message)),
        ("address", texts.address.as_ref()),
        ("page", texts.page.as_ref()),
        ("syndrome", texts.syndrome.as_ref()),
    ];
    let known = strings.into_iter().filter_map(|(n, t)| Some((n, t?)));
    let known = known.filter(|(_, text)| !text.is_empty());
    fields.extend(known.map(|(n, t)| (n, Value::Text(t.as_bytes()))));
    fields
}

/// An ARM processor's block and place. The block is the one that firmware's
/// record has in the kernel's text: one error is told in both.
pub(super) fn arm_texts(cpu: Option<u64>, mpidr: Option<u64>) -> [String; 2] {
    // The kernel writes 0 where the record has none, and -1 for a core that
    // it does not run (log_arm_hw_error, drivers/ras/ras.c).
    let mpidr = mpidr.filter(|n| *n != 0).map(|n| format!("mpidr{n:x}"));
    let cpu = cpu.and_then(|n| i32::try_from(n as i64).ok());
    let cpu = cpu.filter(|n| *n >= 0);
    let block = mpidr.or_else(|| cpu.map(|n| format!("cpu{n}")));
    let place = cpu.map(|n| format!("CPU {n}"));
    [block.unwrap_or_default(), place.unwrap_or_default()]
}

/// Older kernels do not say how bad it is. What was not corrected they print
/// too, with its grade.
pub(super) fn arm_fields(
    grade: Option<Grade>,
    [block, place]: &[String; 2],
) -> Vec<(&'static str, Value<'_>)> {
    let mut fields = vec![
        ("kind", Value::Word(grade.unwrap_or(Grade::Corrected).word())),
        ("unit", Value::Word("device")),
        ("firmware", Value::Flag(true)),
        ("device", Value::Text(b"arm-processor")),
        ("count", Value::Number(1.0)),
        SPAN,
    ];
    let known = [("block", block), ("location", place)];
    let known = known.into_iter().filter(|(_, text)| !text.is_empty());
    fields.extend(known.map(|(n, text)| (n, Value::Text(text.as_bytes()))));
    fields
}

/// The errors of a function, each an observation; one also where the status
/// says nothing.
pub(super) fn names(aer: &Aer) -> Vec<&'static str> {
    let names: Vec<&str> = aer.names().collect();
    if names.is_empty() { vec!["unknown"] } else { names }
}

pub(super) fn aer_fields<'a>(
    aer: &'a Aer,
    error: &'static str,
) -> Vec<(&'static str, Value<'a>)> {
    vec![
        ("kind", Value::Word(aer.grade.word())),
        ("error", Value::Text(error.as_bytes())),
        ("device", Value::Text(aer.device.as_bytes())),
        ("count", Value::Number(1.0)),
        SPAN,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::trace::ras::AerGrade;
    use crate::observation::Source;

    fn memory(label: &str) -> Memory {
        Memory {
            grade: Grade::Corrected,
            firmware: false,
            count: 2,
            mc: Some(1),
            label: label.into(),
            layers: Some([2, 0, -1]),
            message: "read error".into(),
            address: Some(0x5040),
            syndrome: None,
        }
    }

    fn field(memory: &Memory, name: &str) -> Option<String> {
        let texts = MemoryTexts::of(memory);
        let fields = memory_fields(memory, &texts);
        let value = fields.into_iter().find(|(n, _)| *n == name)?.1;
        Some(match value {
            Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Value::Word(word) => word.to_owned(),
            Value::Number(n) => n.to_string(),
            Value::Flag(flag) => flag.to_string(),
        })
    }

    #[test]
    fn a_memory_error_has_the_fields_that_counters_have() {
        let error = memory("DIMM_A1");
        let wanted = [
            ("kind", "corrected"),
            ("unit", "memory"),
            ("label", "DIMM_A1"),
            ("mc", "1"),
            ("count", "2"),
            ("span", "0"),
            ("location", "2:0"),
            ("page", "5"),
        ];
        for (name, value) in wanted {
            assert_eq!(field(&error, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(field(&error, "syndrome"), None);
        let known = Source::Edac.fields();
        let texts = MemoryTexts::of(&error);
        for (name, _) in memory_fields(&error, &texts) {
            assert!(known.iter().any(|f| f.name == name), "{name}");
        }
    }

    #[test]
    fn a_label_that_names_no_single_dimm_is_no_label() {
        for label in ["any memory", "DIMM_A1 or DIMM_A2", ""] {
            assert_eq!(field(&memory(label), "label"), None, "{label}");
        }
    }

    #[test]
    fn an_arm_processor_is_named_as_in_firmwares_record() {
        let of = |cpu, mpidr| arm_texts(cpu, mpidr);
        let both = of(Some(5), Some(0x8100_0500));
        assert_eq!(both, ["mpidr81000500", "CPU 5"]);
        assert_eq!(of(Some(5), Some(0)), ["cpu5", "CPU 5"]);
        assert_eq!(of(Some(u64::MAX), Some(0)), ["", ""]);
        assert_eq!(of(None, None), ["", ""]);
        let unknown = arm_fields(None, &both);
        assert_eq!(unknown[0], ("kind", Value::Word("corrected")));
        let known = Source::Edac.fields();
        for (name, _) in unknown {
            assert!(known.iter().any(|f| f.name == name), "{name}");
        }
    }

    #[test]
    fn a_function_that_says_nothing_still_errs_once() {
        let device = "0000:3b:00.0".into();
        let grade = AerGrade::Fatal;
        assert_eq!(names(&Aer { device, grade, status: 0 }), ["unknown"]);
    }
}
