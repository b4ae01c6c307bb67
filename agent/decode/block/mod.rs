//! Machine checks out of the kernel's text: one block over several records.
//!
//! The kernel prints a machine check as a handful of records, and other
//! CPUs print theirs in between. What belongs together is told by the caller
//! where the kernel prints it, else by the order; a piece that could belong
//! to two blocks is given to neither. A block that is cut off (a panic, lost
//! records, time) is finished with what is known of it: the decoder then
//! names a larger part, never a wrong one.
//!
//! Pure: time comes with the lines. Bounded: [`OPEN_MAX`] blocks are open.

pub mod line;

use std::time::Duration;

use self::line::{Head, Line, Values};
use super::mce::{Registers, Vendor};
use crate::time::Timestamp;

/// Blocks open at a time: one for each caller, and the kernel prints them
/// from one work queue.
pub const OPEN_MAX: usize = 8;

/// A line that comes so long after the one before is of another block. They
/// are printed at once; a slow console takes tens of milliseconds a line,
/// and some logs count whole seconds.
pub const WAIT: Duration = Duration::from_secs(2);

/// So many lines of others between two of a block end it, where time does
/// not: in logs without times.
const OTHERS_MAX: u32 = 200;

/// The block that a line was taken for; counted up, never used again.
pub type BlockId = u64;

/// A finished block.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Which lines it was made of: those that [`Assembler::feed`] answered
    /// with this.
    pub id: BlockId,
    /// What the lines say; what they do not say is `None`.
    pub registers: Registers,
    /// When the first line was printed.
    pub time: Timestamp,
    /// Whether its last line was seen.
    pub whole: bool,
    /// An EDAC driver tells the same error, with its DIMM, in its own line.
    pub edac: bool,
    /// Its lines do not say that they are of a hardware error: nobody is to
    /// take them for a block that is not whole.
    pub bare: bool,
    /// An EDAC driver printed it, whose report follows.
    pub driver: bool,
}

/// A block that is not finished.
#[derive(Debug)]
struct Open {
    block: Block,
    caller: Vec<u8>,
    amd: bool,
    /// When the last line came.
    last: Timestamp,
    /// Lines of others since.
    others: u32,
    /// Another block without a caller was begun before this one ended:
    /// nobody can tell to which of them a line belongs.
    mixed: bool,
}

/// Puts blocks together.
#[derive(Debug, Default)]
pub struct Assembler {
    open: Vec<Open>,
    next: BlockId,
    edac: Option<BlockId>,
    /// When an EDAC driver last said that its own block follows.
    handled: Option<Timestamp>,
}

impl Assembler {
    /// Whether no block is open: then a line that [`line::may_be`] turns
    /// away need not be fed.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// The block that was begun first of those not finished.
    pub fn oldest(&self) -> Option<BlockId> {
        self.open.first().map(|open| open.block.id)
    }

    /// Whether that block is not finished, and its lines bear no mark.
    pub fn is_bare(&self, id: BlockId) -> bool {
        self.open.iter().any(|open| open.block.id == id && open.block.bare)
    }

    /// Takes one line of kernel text, without its transport's prefix, and
    /// appends the blocks that it ends to `out`. `caller` is what the kernel
    /// tells of who printed it, or empty. Says to which block the line
    /// belongs, if to one.
    pub fn feed(
        &mut self,
        time: Timestamp,
        caller: &[u8],
        text: &[u8],
        out: &mut Vec<Block>,
    ) -> Option<BlockId> {
        self.flush(time, out);
        let within = self.open.iter().any(|open| open.caller == caller);
        let Some(line) = line::parse(text, within) else {
            self.pass(out);
            return None;
        };
        match line {
            Line::Head(head) => Some(self.begin(time, caller, &head, out)),
            Line::Handled => {
                self.handled = Some(time);
                None
            }
            Line::Grade | Line::Words => self.owner(caller, &line, time),
            Line::Edac => {
                let id = self.owner(caller, &line, time)?;
                self.with(id, |open| open.block.edac = true);
                self.edac = Some(id);
                // Its own line, with patterns of its own.
                None
            }
            Line::AmdEnd => {
                let id = self.owner(caller, &line, time)?;
                self.finish(id, true, out);
                Some(id)
            }
            Line::Values(values) => {
                let id = self.owner(caller, &line, time)?;
                self.with(id, |open| open.set(&values));
                Some(id)
            }
            Line::Rip { cs, ip } => {
                let id = self.owner(caller, &line, time)?;
                self.with(id, |open| {
                    open.block.registers.cs = Some(cs);
                    open.block.registers.ip = Some(ip);
                });
                Some(id)
            }
            Line::Processor(processor) => {
                let id = self.owner(caller, &line, time)?;
                self.with(id, |open| {
                    let registers = &mut open.block.registers;
                    registers.vendor = Some(processor.vendor);
                    registers.cpuid = processor.cpuid;
                    registers.time = processor.time;
                    registers.socket = processor.socket;
                    registers.apicid = processor.apicid;
                    registers.microcode = processor.microcode;
                });
                self.finish(id, processor.apicid.is_some(), out);
                Some(id)
            }
        }
    }

    /// The block inside which an EDAC driver's line was just fed; its own
    /// patterns take that line, so it is none of the block's.
    pub fn take_edac(&mut self) -> Option<BlockId> {
        self.edac.take()
    }

    /// Finishes the blocks whose next line has not come in time.
    pub fn flush(&mut self, now: Timestamp, out: &mut Vec<Block>) {
        self.end_where(out, |open| now.since(open.last) > WAIT);
    }

    /// Finishes all blocks: records were lost, or there are no more.
    pub fn end(&mut self, out: &mut Vec<Block>) {
        self.end_where(out, |_| true);
    }

    fn begin(
        &mut self,
        time: Timestamp,
        caller: &[u8],
        head: &Head,
        out: &mut Vec<Block>,
    ) -> BlockId {
        let mut mixed = false;
        if caller.is_empty() {
            // Perhaps the one before was cut off, perhaps both go on.
            for open in &mut self.open {
                if open.caller.is_empty() {
                    (open.mixed, mixed) = (true, true);
                }
            }
        } else {
            // Who begins anew has ended the one before.
            self.end_where(out, |open| open.caller == caller);
        }
        if self.open.len() == OPEN_MAX {
            let oldest = self.open[0].block.id;
            self.finish(oldest, false, out);
        }
        let id = self.next;
        self.next += 1;
        let block = Block {
            id,
            registers: registers(head),
            time,
            whole: false,
            edac: false,
            bare: head.bare,
            driver: head.bare
                && self.handled.take().is_some_and(|t| time.since(t) <= WAIT),
        };
        self.open.push(Open {
            block,
            caller: caller.to_vec(),
            amd: head.amd,
            last: time,
            others: 0,
            mixed,
        });
        id
    }

    /// The block that the line belongs to: the only one that it can belong
    /// to.
    fn owner(
        &mut self,
        caller: &[u8],
        line: &Line,
        time: Timestamp,
    ) -> Option<BlockId> {
        let fits =
            |open: &&mut Open| open.caller == caller && open.can_take(line);
        let mut all = self.open.iter_mut().filter(fits);
        let open = all.next()?;
        let alone = all.next().is_none();
        if !alone || open.mixed && !matches!(line, Line::Words | Line::Grade) {
            return None;
        }
        (open.last, open.others) = (time, 0);
        Some(open.block.id)
    }

    fn with(&mut self, id: BlockId, change: impl FnOnce(&mut Open)) {
        let open = self.open.iter_mut().find(|open| open.block.id == id);
        if let Some(open) = open {
            change(open);
        }
    }

    /// A line of others.
    fn pass(&mut self, out: &mut Vec<Block>) {
        for open in &mut self.open {
            open.others += 1;
        }
        self.end_where(out, |open| open.others > OTHERS_MAX);
    }

    fn finish(&mut self, id: BlockId, whole: bool, out: &mut Vec<Block>) {
        self.with(id, |open| open.block.whole = whole);
        self.end_where(out, |open| open.block.id == id);
    }

    fn end_where(
        &mut self,
        out: &mut Vec<Block>,
        ends: impl Fn(&Open) -> bool,
    ) {
        let mut at = 0;
        while at < self.open.len() {
            if ends(&self.open[at]) {
                out.push(self.open.remove(at).block);
            } else {
                at += 1;
            }
        }
    }
}

impl Open {
    /// Whether such a line may follow in this block. A grade stands before
    /// its block, so it ends nothing and belongs to none.
    fn can_take(&self, line: &Line) -> bool {
        let registers = &self.block.registers;
        match line {
            Line::Grade | Line::Handled => false,
            Line::Processor(_) | Line::Rip { .. } => !self.amd,
            Line::Edac | Line::AmdEnd => self.amd,
            Line::Words => true,
            // A value that is there already is of another block, or is the
            // same line once more, now whole.
            Line::Values(values) => registers_fit(registers, values),
            Line::Head(_) => false,
        }
    }

    fn set(&mut self, values: &Values) {
        let registers = &mut self.block.registers;
        let set = |slot: &mut Option<u64>, value: Option<u64>| {
            if value.is_some() {
                *slot = value;
            }
        };
        set(&mut registers.tsc, values.tsc);
        set(&mut registers.addr, values.addr);
        set(&mut registers.misc, values.misc);
        set(&mut registers.ppin, values.ppin);
        set(&mut registers.synd, values.synd);
        set(&mut registers.ipid, values.ipid);
    }
}

fn registers_fit(registers: &Registers, values: &Values) -> bool {
    let fits = |have: Option<u64>, new: Option<u64>| {
        have.is_none() || new.is_none() || have == new
    };
    fits(registers.tsc, values.tsc)
        && fits(registers.addr, values.addr)
        && fits(registers.misc, values.misc)
        && fits(registers.ppin, values.ppin)
        && fits(registers.synd, values.synd)
        && fits(registers.ipid, values.ipid)
}

fn registers(head: &Head) -> Registers {
    // Only AMD's and Hygon's decoder prints so; 18h is Hygon's.
    let hygon = head.model.is_some_and(|model| model.family == 0x18);
    let vendor = match (head.amd, hygon) {
        (true, true) => Some(Vendor::Hygon),
        (true, false) => Some(Vendor::Amd),
        (false, _) => None,
    };
    Registers {
        status: head.status,
        bank: Some(head.bank),
        mcgstatus: head.mcgstatus,
        cpu: Some(head.cpu),
        vendor,
        cpuid: head.model.map(|model| model.to_cpuid()),
        ..Registers::default()
    }
}

#[cfg(test)]
mod tests;
