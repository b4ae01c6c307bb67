//! Where a command writes: standard output, with what is known of it.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use super::ColorChoice;
use super::escape::quiet_json;

/// How a piece of text is set off on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ink {
    /// As it is.
    #[default]
    Plain,
    /// Headings.
    Bold,
    /// Of less weight.
    Dim,
    /// Fatal and error.
    Red,
    /// Warning.
    Yellow,
    /// Good.
    Green,
}

impl Ink {
    /// The colour of a severity's word.
    pub fn of_severity(word: &str) -> Ink {
        match word {
            "fatal" | "error" => Ink::Red,
            "warning" => Ink::Yellow,
            _ => Ink::Plain,
        }
    }

    /// ECMA-48, 8.3.117 (SGR).
    fn code(self) -> &'static str {
        match self {
            Ink::Plain => "",
            Ink::Bold => "\x1b[1m",
            Ink::Dim => "\x1b[2m",
            Ink::Red => "\x1b[31m",
            Ink::Yellow => "\x1b[33m",
            Ink::Green => "\x1b[32m",
        }
    }
}

/// An output for one command.
pub struct Screen {
    out: Box<dyn Write>,
    color: bool,
    terminal: bool,
    width: Option<usize>,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Screen {{ color: {}, .. }}", self.color)
    }
}

impl Screen {
    /// Standard output, with colour if it was asked for or is a terminal
    /// that can show it.
    pub fn stdout(choice: ColorChoice) -> Screen {
        let out = io::stdout();
        let terminal = out.is_terminal();
        let color = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && wants_color(),
        };
        let width = terminal.then(terminal_width).flatten();
        Screen {
            out: Box::new(io::BufWriter::new(out)),
            color,
            terminal,
            width,
        }
    }

    /// How many columns there are, if it is a terminal.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// Whether a person watches; what is written is kept until it is flushed.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes `text`, which must be safe to show, and ends the line.
    ///
    /// # Errors
    /// Those of the output.
    pub fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Writes `text`, which must be safe to show, with `ink`.
    ///
    /// # Errors
    /// Those of the output.
    pub fn ink(&mut self, ink: Ink, text: impl Display) -> io::Result<()> {
        if self.color && ink != Ink::Plain {
            write!(self.out, "{}{text}\x1b[0m", ink.code())
        } else {
            write!(self.out, "{text}")
        }
    }

    /// Writes `n` blanks.
    ///
    /// # Errors
    /// Those of the output.
    pub fn spaces(&mut self, n: usize) -> io::Result<()> {
        write!(self.out, "{:n$}", "")
    }

    /// Writes a value as indented JSON.
    ///
    /// # Errors
    /// Those of the output, and of the value's serialisation.
    pub fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        self.line(quiet_json(&text))
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// Those of the output, and of the value's serialisation.
    pub fn json_line(
        &mut self,
        value: &impl serde::Serialize,
    ) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        self.line(quiet_json(&text))
    }

    /// A screen whose text a test can read.
    #[cfg(test)]
    pub fn for_tests(
        color: bool,
        width: Option<usize>,
    ) -> (Screen, std::sync::Arc<std::sync::Mutex<Vec<u8>>>) {
        let buffer = std::sync::Arc::default();
        let out = Box::new(tests::Shared(std::sync::Arc::clone(&buffer)));
        (Screen { out, color, terminal: width.is_some(), width }, buffer)
    }
}

/// For what writes text that is safe already.
impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// <https://no-color.org>: set and not empty means no colour.
fn wants_color() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// The terminal's width: COLUMNS if it is exported, else what the terminal
/// says.
fn terminal_width() -> Option<usize> {
    let columns = std::env::var("COLUMNS").ok();
    let columns = columns.and_then(|c| c.parse().ok()).or_else(window_size);
    columns.filter(|c| *c > 0)
}

#[expect(unsafe_code, reason = "no safe crate of ours has TIOCGWINSZ")]
fn window_size() -> Option<usize> {
    use nix::libc;
    let mut size =
        libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ (ioctl_tty(2)) writes one `winsize` to the address
    // it is given, which is that of a live, exclusively borrowed `winsize`.
    let result = unsafe {
        libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size)
    };
    (result == 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    pub struct Shared(pub Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn colour_is_written_only_where_it_was_asked_for() {
        for (color, expected) in [(true, "\x1b[31mx\x1b[0m"), (false, "x")] {
            let (mut screen, buffer) = Screen::for_tests(color, None);
            screen.ink(Ink::Red, "x").unwrap();
            assert_eq!(*buffer.lock().unwrap(), expected.as_bytes());
        }
    }
}
