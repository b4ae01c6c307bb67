//! A program that names itself and crashes, as a file of 300 bytes: an ELF
//! header, one segment and a few instructions. Made here, so that the tests
//! need no compiler, and thousands of them fit in a directory.

/// How it ends, and so what the kernel prints about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Reads address 8: `segfault at 8`.
    Segfault,
    /// Executes ud2: `traps: … trap invalid opcode`.
    BadOpcode,
    /// Executes hlt: `traps: … general protection fault`.
    Privileged,
    /// Divides by zero: `traps: … trap divide error`.
    Division,
    /// Fills its stack: `oom-kill:` where memory is limited.
    Memory,
}

/// The longest name of a task, TASK_COMM_LEN less its NUL.
pub const COMM_MAX: usize = 15;

/// The program for x86-64. `comm` is the name it gives itself before it ends;
/// without one the kernel names it after its file.
pub fn program(
    comm: Option<&[u8]>,
    end: End,
    stack_executable: bool,
) -> Vec<u8> {
    let crash: &[u8] = match end {
        End::Segfault => &[0x31, 0xc0, 0x48, 0x8b, 0x40, 0x08],
        End::BadOpcode => &[0x0f, 0x0b],
        End::Privileged => &[0xf4],
        End::Division => &[0x31, 0xc9, 0x31, 0xc0, 0xf7, 0xf1],
        End::Memory => &[0x50, 0xeb, 0xfd],
    };
    let mut code = Vec::new();
    if let Some(comm) = comm {
        let past = u8::try_from(crash.len()).expect("a few bytes") + 7;
        // mov edi, PR_SET_NAME; lea rsi, [rip + past]; mov eax, SYS_prctl;
        // syscall
        code.extend([0xbf, 15, 0, 0, 0, 0x48, 0x8d, 0x35, past, 0, 0, 0]);
        code.extend([0xb8, 157, 0, 0, 0, 0x0f, 0x05]);
        code.extend(crash);
        code.extend(&comm[..comm.len().min(COMM_MAX)]);
        code.push(0);
    } else {
        code.extend(crash);
    }
    elf(&code, stack_executable)
}

/// An ELF file that is loaded whole at 4 MiB and starts with `code`.
fn elf(code: &[u8], stack_executable: bool) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 2 * 56;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    file.extend([0; 8]);
    // ET_EXEC for EM_X86_64.
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [BASE + HEADERS, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    // Flags; the sizes and counts of headers.
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
    let size = HEADERS + code.len() as u64;
    // PT_LOAD, readable and executable.
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    // PT_GNU_STACK.
    let flags = if stack_executable { 7 } else { 6 };
    file.extend([0x51, 0xe5, 0x74, 0x64, flags, 0, 0, 0]);
    for word in [0_u64, 0, 0, 0, 0, 16] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}
