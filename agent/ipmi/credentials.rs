//! Who we are to a BMC on the network: from a file that only root can read,
//! or from the environment; never from the command line, and never in a log.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;

/// The environment's variables.
pub const USER_VARIABLE: &str = "FAULTLINE_IPMI_USER";
/// See [`USER_VARIABLE`].
pub const PASSWORD_VARIABLE: &str = "FAULTLINE_IPMI_PASSWORD";

/// The longest user name (IPMI 2.0, 22.28).
const USER_MAX: usize = 16;

/// The longest password (IPMI 2.0, 22.30).
const PASSWORD_MAX: usize = 20;

/// Far above what a file of credentials can hold.
const FILE_MAX: u64 = 4096;

/// A user's name and secrets.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Credentials {
    /// The user; empty for the nameless one.
    pub user: String,
    /// The password.
    pub password: String,
    /// The BMC's own key (K_g), where one is set; hexadecimal.
    pub bmc_key: String,
}

/// Without the secrets: a log must never have them.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials {{ user: {:?}, .. }}", self.user)
    }
}

impl Credentials {
    /// Those of the environment, where a user or a password stands there.
    pub fn from_environment() -> Option<Credentials> {
        let read = |name| std::env::var(name).ok();
        let (user, password) = (read(USER_VARIABLE), read(PASSWORD_VARIABLE));
        (user.is_some() || password.is_some()).then(|| Credentials {
            user: user.unwrap_or_default(),
            password: password.unwrap_or_default(),
            bmc_key: String::new(),
        })
    }

    /// Those of a file.
    ///
    /// # Errors
    /// It can't be read, makes no sense, or others may read it too. The
    /// error never shows what stands in it.
    pub fn read(path: &Path) -> Result<Credentials, String> {
        let shown = path.display();
        let failed = |e: std::io::Error| match e.kind() {
            ErrorKind::NotFound => format!(
                "there is no {shown}; write `user:` and `password:` of the \
                 BMC into it and chmod 600 it, or set {USER_VARIABLE} and \
                 {PASSWORD_VARIABLE}"
            ),
            _ => format!("{shown}: {e}"),
        };
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err(format!("{shown} is no file"));
        }
        if about.mode() & 0o077 != 0 {
            return Err(format!(
                "{shown} may be read by others than its owner; chmod 600 it"
            ));
        }
        let mut text = String::new();
        file.take(FILE_MAX).read_to_string(&mut text).map_err(failed)?;
        let found: Credentials =
            serde_saphyr::from_str(&text).map_err(|_| {
                format!(
                    "{shown} makes no sense; write `user:`, `password:` and \
                     perhaps `bmc_key:`, a line each"
                )
            })?;
        found.check().map_err(|why| format!("{shown}: {why}"))?;
        Ok(found)
    }

    /// Whether a BMC could take them.
    ///
    /// # Errors
    /// What is too long.
    pub fn check(&self) -> Result<(), String> {
        if self.user.len() > USER_MAX {
            return Err(format!("the user is longer than {USER_MAX} bytes"));
        }
        if self.password.len() > PASSWORD_MAX {
            return Err(format!(
                "the password is longer than {PASSWORD_MAX} bytes"
            ));
        }
        self.key().map(drop)
    }

    /// The key from which a session's is made.
    ///
    /// # Errors
    /// `bmc_key` is not hexadecimal, or too long.
    pub fn key(&self) -> Result<Vec<u8>, String> {
        if self.bmc_key.is_empty() {
            return Ok(self.password.clone().into_bytes());
        }
        let digits = self.bmc_key.trim_start_matches("0x");
        let pair = |at: usize| {
            digits.get(at..at + 2).and_then(|d| u8::from_str_radix(d, 16).ok())
        };
        let bytes: Option<Vec<u8>> =
            (0..digits.len()).step_by(2).map(pair).collect();
        let sane = bytes.filter(|b| b.len() <= PASSWORD_MAX);
        sane.ok_or_else(|| "bmc_key is not up to 40 hexadecimal digits".into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(file.path(), mode).unwrap();
        file
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_without_its_secret() {
        let text = "user: admin\npassword: s3cret\n";
        let open = file(text, 0o644);
        let why = Credentials::read(open.path()).unwrap_err();
        assert!(why.contains("chmod 600"), "{why}");
        let own = file(text, 0o600);
        let found = Credentials::read(own.path()).unwrap();
        assert_eq!(found.user, "admin");
        assert!(!format!("{found:?}").contains("s3cret"));
        let wrong = file("user: a\npasword: s3cret\n", 0o600);
        let why = Credentials::read(wrong.path()).unwrap_err();
        assert!(!why.contains("s3cret"), "{why}");
    }

    #[test]
    fn where_there_is_no_file_it_is_said_what_to_do() {
        let why = Credentials::read(Path::new("/none.yaml")).unwrap_err();
        assert!(why.contains("/none.yaml; write `user:`"), "{why}");
        assert!(why.contains(PASSWORD_VARIABLE), "{why}");
    }

    #[test]
    fn what_no_bmc_takes_is_refused() {
        let long = "x".repeat(21);
        let of = |password: &str, bmc_key: &str| Credentials {
            user: "u".into(),
            password: password.into(),
            bmc_key: bmc_key.into(),
        };
        assert!(of(&long, "").check().is_err());
        assert!(of("p", "0xzz").check().is_err());
        assert!(of("p", "123").check().is_err());
        assert_eq!(of("p", "0x0102").key(), Ok(vec![1, 2]));
        assert_eq!(of("p", "").key(), Ok(b"p".to_vec()));
    }
}
