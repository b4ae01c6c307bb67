//! A tree whose files can be told to misbehave, as those of sysfs do when a
//! device dies: a file system that shows a directory as it is, except for
//! files that refuse, wait, or are gone when they are opened. It speaks the
//! kernel's FUSE (include/uapi/linux/fuse.h) itself, as much of it as reading
//! a tree takes; nothing is cached, so every read comes here.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// What a file does when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Reading fails as when a device does not answer (EIO).
    Refuses,
    /// Reading takes so long.
    Waits(Duration),
    /// Reading never ends, until the way is forgotten.
    Hangs,
    /// It is listed, and gone when it is opened.
    Vanishes,
}

/// A file's way, and those who wait for it.
type Ways = Arc<Mutex<State>>;

#[derive(Debug, Default)]
struct State {
    ways: BTreeMap<PathBuf, Way>,
    /// Answers that nobody got yet, by path.
    held: Vec<(PathBuf, u64, Vec<u8>)>,
}

/// The mounted tree; it is gone with this value.
pub struct StubbornTree {
    ways: Ways,
    at: PathBuf,
    device: File,
}

impl StubbornTree {
    /// Shows `of` at `at`. An error says why that can't be here.
    pub fn mount(of: &Path, at: &Path) -> Result<StubbornTree, String> {
        let device =
            OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = device.map_err(|e| format!("/dev/fuse: {e}"))?;
        let options = format!(
            "fd={},rootmode=40755,user_id=0,group_id=0,allow_other",
            device.as_raw_fd()
        );
        let (flags, options) = (MsFlags::empty(), Some(options.as_str()));
        mount(Some("stubborn"), at, Some("fuse"), flags, options)
            .map_err(|e| format!("mounting a FUSE: {e}"))?;
        let ways = Ways::default();
        let server = Server {
            of: of.to_owned(),
            paths: vec![PathBuf::new()],
            ways: Arc::clone(&ways),
            device: device.try_clone().unwrap(),
        };
        std::thread::spawn(move || server.serve());
        Ok(StubbornTree { ways, at: at.to_owned(), device })
    }

    /// Makes a file, by its path in the tree without links, do this.
    pub fn set(&self, path: &str, way: Way) {
        self.ways.lock().unwrap().ways.insert(path.into(), way);
    }

    /// Lets a file be as it is; who waits for it gets its answer.
    pub fn forget(&self, path: &str) {
        let mut state = self.ways.lock().unwrap();
        state.ways.remove(Path::new(path));
        let held = std::mem::take(&mut state.held);
        let (now, later): (Vec<_>, Vec<_>) =
            held.into_iter().partition(|(held, ..)| held == Path::new(path));
        state.held = later;
        for (_, unique, body) in now {
            reply(&self.device, unique, 0, &body);
        }
    }

    /// Whether somebody waits for a file.
    pub fn is_waited_for(&self, path: &str) -> bool {
        let state = self.ways.lock().unwrap();
        state.held.iter().any(|(held, ..)| held == Path::new(path))
    }
}

impl Drop for StubbornTree {
    fn drop(&mut self) {
        // Force ends every request, and so whoever still waits for one.
        let force = MntFlags::MNT_FORCE | MntFlags::MNT_DETACH;
        umount2(&self.at, force).expect("it is mounted");
    }
}

/// The requests that are answered (enum fuse_opcode).
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const READLINK: u32 = 5;
const OPEN: u32 = 14;
const READ: u32 = 15;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

/// struct fuse_in_header.
const HEADER: usize = 40;
/// FOPEN_DIRECT_IO: sizes are not believed, nothing is kept.
const DIRECT: u32 = 1;
/// Larger than any request that a tree which is only read gets.
const REQUEST_MAX: usize = 128 * 1024;

struct Server {
    of: PathBuf,
    /// A node's path; its number is one more than its place.
    paths: Vec<PathBuf>,
    ways: Ways,
    device: File,
}

impl Server {
    fn serve(mut self) {
        let mut request = vec![0; REQUEST_MAX];
        loop {
            let length = match self.device.read(&mut request) {
                Ok(length) => length,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                // A request that was interrupted before it was read.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(_) => return, // it was unmounted
            };
            self.answer(&request[..length]);
        }
    }

    fn answer(&mut self, request: &[u8]) {
        let (op, unique) = (u32_at(request, 4), u64_at(request, 8));
        let node = u64_at(request, 16);
        let body = &request[HEADER..];
        let path = self.path(node);
        let answer = match op {
            FORGET | BATCH_FORGET => return,
            INTERRUPT => return self.interrupt(u64_at(body, 0)),
            INIT => Ok(init(body)),
            LOOKUP => self.lookup(&path, body),
            GETATTR => self.attributes(&path, node),
            READLINK => fs::read_link(self.of.join(&path))
                .map(|to| to.as_os_str().as_bytes().to_vec())
                .map_err(|_| Errno::EINVAL),
            OPEN | OPENDIR => self.open(&path),
            READDIR => self.list(&path, body),
            READ => match self.way(&path) {
                Some(Way::Refuses) => Err(Errno::EIO),
                way => return self.read(way, path, unique, body),
            },
            RELEASE | RELEASEDIR | FLUSH => Ok(Vec::new()),
            _ => Err(Errno::ENOSYS),
        };
        match answer {
            Ok(body) => reply(&self.device, unique, 0, &body),
            Err(error) => reply(&self.device, unique, error as i32, &[]),
        }
    }

    /// Whoever waits is to end: only then does it.
    fn interrupt(&self, unique: u64) {
        let mut state = self.ways.lock().unwrap();
        let at = state.held.iter().position(|(_, held, _)| *held == unique);
        if let Some(at) = at {
            state.held.remove(at);
            reply(&self.device, unique, Errno::EINTR as i32, &[]);
        }
    }

    fn path(&self, node: u64) -> PathBuf {
        self.paths[node.max(1) as usize - 1].clone()
    }

    fn way(&self, path: &Path) -> Option<Way> {
        self.ways.lock().unwrap().ways.get(path).copied()
    }

    fn lookup(&mut self, dir: &Path, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        let path = dir.join(std::ffi::OsStr::from_bytes(name));
        if self.way(&path) == Some(Way::Vanishes) {
            return Err(Errno::ENOENT);
        }
        let about = fs::symlink_metadata(self.of.join(&path));
        let about = about.map_err(|_| Errno::ENOENT)?;
        let known = self.paths.iter().position(|known| *known == path);
        let at = known.unwrap_or_else(|| {
            self.paths.push(path);
            self.paths.len() - 1
        });
        let node = at as u64 + 1;
        let mut out = Vec::new();
        out.extend(node.to_le_bytes());
        out.extend([0; 32]); // generation, and validity: none
        attributes(&mut out, node, &about);
        Ok(out)
    }

    fn attributes(&self, path: &Path, node: u64) -> Result<Vec<u8>, Errno> {
        let about = fs::symlink_metadata(self.of.join(path));
        let about = about.map_err(|_| Errno::ENOENT)?;
        let mut out = vec![0; 16];
        attributes(&mut out, node, &about);
        Ok(out)
    }

    fn open(&self, path: &Path) -> Result<Vec<u8>, Errno> {
        if self.way(path) == Some(Way::Vanishes) {
            return Err(Errno::ENOENT);
        }
        let mut out = vec![0; 8];
        out.extend(DIRECT.to_le_bytes());
        out.extend([0; 4]);
        Ok(out)
    }

    fn list(&self, path: &Path, body: &[u8]) -> Result<Vec<u8>, Errno> {
        if self.way(path) == Some(Way::Refuses) {
            return Err(Errno::EIO);
        }
        let (offset, size) = (u64_at(body, 8), u32_at(body, 16) as usize);
        let entries = fs::read_dir(self.of.join(path));
        let entries = entries.map_err(|_| Errno::ENOENT)?;
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let mut out = Vec::new();
        for (at, name) in names.iter().enumerate().skip(offset as usize) {
            let name = name.as_bytes();
            let length = (24 + name.len()).next_multiple_of(8);
            if out.len() + length > size {
                break;
            }
            let end = out.len() + length;
            out.extend(u64::MAX.to_le_bytes()); // its number: not known
            out.extend((at as u64 + 1).to_le_bytes());
            out.extend((name.len() as u32).to_le_bytes());
            out.extend([0; 4]); // its type: not known
            out.extend(name);
            out.resize(end, 0);
        }
        Ok(out)
    }

    fn read(&self, way: Option<Way>, path: PathBuf, unique: u64, body: &[u8]) {
        let (offset, size) = (u64_at(body, 8), u32_at(body, 16) as usize);
        let mut bytes = vec![0; size];
        let file = File::open(self.of.join(&path));
        let read = file.and_then(|file| file.read_at(&mut bytes, offset));
        bytes.truncate(read.unwrap_or(0));
        match way {
            Some(Way::Hangs) => {
                let mut state = self.ways.lock().unwrap();
                state.held.push((path, unique, bytes));
            }
            Some(Way::Waits(time)) => {
                let device = self.device.try_clone().unwrap();
                std::thread::spawn(move || {
                    std::thread::sleep(time);
                    reply(&device, unique, 0, &bytes);
                });
            }
            _ => reply(&self.device, unique, 0, &bytes),
        }
    }
}

/// struct fuse_init_out, of version 7.31.
fn init(_body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(7_u32.to_le_bytes());
    out.extend(31_u32.to_le_bytes());
    out.extend([0; 8]); // reading ahead, flags
    out.extend(64_u16.to_le_bytes()); // requests in the background
    out.extend(48_u16.to_le_bytes());
    out.extend(4096_u32.to_le_bytes()); // the largest write
    out.extend(1_u32.to_le_bytes()); // granularity of time
    out.resize(64, 0);
    out
}

/// struct fuse_attr.
fn attributes(out: &mut Vec<u8>, node: u64, about: &Metadata) {
    out.extend(node.to_le_bytes());
    // Attributes of sysfs are a page long, whatever they hold.
    let size = if about.is_file() { 4096 } else { about.size() };
    out.extend(size.to_le_bytes());
    out.extend([0; 44]); // blocks, times
    out.extend(about.mode().to_le_bytes());
    out.extend(1_u32.to_le_bytes()); // links
    out.extend([0; 12]); // owner, device
    out.extend(4096_u32.to_le_bytes());
    out.extend([0; 4]);
}

fn reply(mut device: &File, unique: u64, error: i32, body: &[u8]) {
    let mut out = Vec::new();
    out.extend((16 + body.len() as u32).to_le_bytes());
    out.extend((-error).to_le_bytes());
    out.extend(unique.to_le_bytes());
    out.extend(body);
    // Whoever asked may have been interrupted, or the tree unmounted.
    let _ = device.write_all(&out);
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}
