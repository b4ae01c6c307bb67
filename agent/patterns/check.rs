//! Findings while a file is checked: every mistake of a file is collected,
//! so that one run shows them all.

use super::diagnostic::{Diagnostic, Level};
use super::located::Place;
use super::parse::ParsedFile;

/// Collects what is wrong with one file.
pub struct Findings<'a> {
    file: &'a ParsedFile,
    /// Where the pattern at hand begins.
    pub here: Place,
    /// What was found.
    pub found: Vec<Diagnostic>,
}

/// The finding just added, to which advice can be added.
pub struct Added<'a>(&'a mut Diagnostic);

impl Added<'_> {
    /// Adds advice.
    pub fn help(self, help: impl Into<String>) {
        self.0.help = Some(help.into());
    }
}

impl<'a> Findings<'a> {
    /// No findings yet.
    pub fn new(file: &'a ParsedFile) -> Findings<'a> {
        Findings { file, here: Place::default(), found: Vec::new() }
    }

    /// Whether the file is compiled into the binary.
    pub fn builtin(&self) -> bool {
        self.file.builtin
    }

    fn add(
        &mut self,
        level: Level,
        place: Place,
        message: String,
    ) -> Added<'_> {
        self.found.push(Diagnostic::new(
            level,
            &self.file.name,
            &self.file.text,
            place,
            message,
        ));
        Added(self.found.last_mut().expect("one was just pushed"))
    }

    /// A mistake at a place.
    pub fn error(&mut self, place: Place, message: String) -> Added<'_> {
        self.add(Level::Error, place, message)
    }

    /// A mistake of the pattern as a whole.
    pub fn error_here(&mut self, message: String) -> Added<'_> {
        self.add(Level::Error, self.here, message)
    }

    /// Something unwise.
    pub fn warning(&mut self, place: Place, message: String) -> Added<'_> {
        self.add(Level::Warning, place, message)
    }

    /// The place of byte `offset` of the text `inner`, which begins at
    /// `place`, if it stands there as written.
    pub fn inside(
        &self,
        place: Place,
        inner: &str,
        offset: Option<usize>,
    ) -> Place {
        let line = usize::try_from(place.line).unwrap_or(0);
        let text = self.file.text.lines().nth(line.saturating_sub(1));
        let (Some(text), Some(offset)) = (text, offset) else { return place };
        let Some(start) = text.find(inner) else { return place };
        let at = text.get(..start + offset).map(|t| t.chars().count());
        let column = at.and_then(|c| u64::try_from(c + 1).ok());
        Place { line: place.line, column: column.unwrap_or(place.column) }
    }
}
