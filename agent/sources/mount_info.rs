//! One line of mountinfo. Pure.
//!
//! `36 35 98:0 /root /mountpoint rw,noatime master:1 - ext3 /dev/sda1 rw`
//! (proc_pid_mountinfo(5)); blanks, newlines and backslashes are `\ooo`.

/// A mounted filesystem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// Where it is mounted.
    pub mountpoint: Vec<u8>,
    /// What is mounted, without `/dev/`.
    pub device: Vec<u8>,
    /// The filesystem's type.
    pub fstype: Vec<u8>,
    /// Whether the superblock is read-only; a read-only bind mount of a
    /// writable filesystem is not.
    pub readonly: bool,
}

/// Reads a line; `None` when it is none, or of no block device.
pub fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let mountpoint = fields.nth(4)?;
    // Optional fields come before the dash.
    fields.find(|field| *field == b"-")?;
    let (fstype, source) = (fields.next()?, fields.next()?);
    let options = fields.next()?;
    let device = unescape(source);
    let device = device.strip_prefix(b"/dev/")?;
    let readonly = options.split(|b| *b == b',').any(|o| o == b"ro");
    Some(Mount {
        mountpoint: unescape(mountpoint),
        device: device.to_vec(),
        fstype: unescape(fstype),
        readonly,
    })
}

/// `\040` is a blank (fs/seq_file.c, mangle_path).
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'\\'
            && let [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] =
                after
        {
            out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = &after[3..];
        } else {
            out.push(byte);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_block_device_is_read() {
        let line = b"36 35 98:0 / /my\\040disk rw,noatime shared:1 master:2 \
            - ext4 /dev/mapper/a\\134b ro,errors=remount-ro";
        let mount = parse(line).unwrap();
        assert_eq!(mount.mountpoint, b"/my disk");
        assert_eq!(mount.device, b"mapper/a\\b");
        assert_eq!(mount.fstype, b"ext4");
        assert!(mount.readonly);
    }

    #[test]
    fn a_read_only_bind_mount_is_not_a_read_only_filesystem() {
        let line = b"36 35 98:0 /x /y ro - ext4 /dev/sda1 rw";
        assert!(!parse(line).unwrap().readonly);
    }

    #[test]
    fn other_filesystems_are_none_of_ours() {
        assert_eq!(parse(b"1 2 0:3 / /proc rw - proc proc rw"), None);
        assert_eq!(parse(b"1 2 0:3 / /nfs rw - nfs host:/dev/x rw"), None);
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"1 2 3 4 5"), None);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_lines_never_panic(line: Vec<u8>) {
            parse(&line);
        }
    }
}
