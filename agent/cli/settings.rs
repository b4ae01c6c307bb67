//! From what the user typed and what the configuration says to what a
//! command uses; the command line wins.

use std::path::PathBuf;
use std::sync::Arc;

use super::Global;
use crate::config::{self, Config};
use crate::devices;
use crate::patterns::set::PatternSet;
use crate::reload::PatternFiles;

impl Global {
    /// The configuration, with what the command line says put in.
    ///
    /// # Errors
    /// The file says something that can't be, or a file that was asked for
    /// can't be read.
    pub fn settings(&self) -> Result<Config, config::Error> {
        let asked = self.config.is_some();
        let default = || PathBuf::from(config::PATH);
        let path = self.config.clone().unwrap_or_else(default);
        let mut config = Config::read(&path, asked)?;
        if let Some(dir) = &self.state_dir {
            config.state_dir.clone_from(dir);
        }
        if let Some(socket) = &self.socket {
            config.socket.clone_from(socket);
        }
        if !self.patterns.is_empty() {
            config.patterns.clone_from(&self.patterns);
        }
        if !config.devices.as_os_str().is_empty() {
            devices::borrow_from(&config.devices);
        }
        Ok(config)
    }

    /// The built-in patterns with those of the directories. A file with
    /// mistakes is left out, and standard error says so.
    ///
    /// # Errors
    /// A directory that was asked for is not there, or the built-in patterns
    /// themselves don't compile.
    pub fn load_patterns(
        &self,
        config: &Config,
    ) -> anyhow::Result<Arc<PatternSet>> {
        for dir in &self.patterns {
            if !dir.is_dir() {
                anyhow::bail!("{}: no such directory", dir.display());
            }
        }
        let mut files = PatternFiles::new(config.patterns.clone());
        let loaded = files.load().map_err(|found| {
            let found: Vec<_> = found.iter().map(|d| d.to_string()).collect();
            anyhow::anyhow!("the built-in patterns: {}", found.join("\n"))
        })?;
        for file in loaded.files.iter().filter(|f| !f.errors.is_empty()) {
            for error in &file.errors {
                eprintln!("{error}");
            }
            let name = crate::escape::escape(file.name.as_bytes());
            eprintln!("faultline: {name} is left out");
        }
        Ok(loaded.set)
    }
}
