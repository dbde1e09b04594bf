//! The bank's file: a header, then records, only ever appended to; rewritten whole when most of it is out of date.

use super::{
    memory::Memory,
    record::{self, Key, Record, WIDTH},
};
use crate::{
    error::{Error, Result},
    sample::SampleId,
};
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{BufReader, BufWriter, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 8] = b"hmbank 1";
/// Magic, width of a record, decay of the mean, and zeros.
const HEADER: usize = 32;

/// What a bank does with a record in the middle of its file whose checksum does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDamage {
    /// Opening fails and names the place.
    #[default]
    Fail,
    /// The record is passed over and counted: its sample is as the record before it says.
    Skip,
}

/// What was found when a bank was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Good records.
    pub records: u64,
    /// Bytes at the end that a killed or powerless writer left unfinished: they were cut off.
    pub torn_bytes: u64,
    /// Records in the middle that were passed over ([`OnDamage::Skip`]).
    pub damaged: u64,
    /// States whose id was among what was passed over: they were dropped.
    pub nameless: u64,
}

/// The samples of a file, in the order in which they were first taken.
pub(super) type Kept = Vec<(SampleId, Memory)>;

pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// Whole records.
    records: u64,
    /// Set when the file could not be brought back to whole records.
    broken: bool,
}

fn header(beta: f64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&(WIDTH as u32).to_le_bytes());
    header[12..20].copy_from_slice(&beta.to_le_bytes());
    header
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Keeps other writers out until the file is closed.
fn lock(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::usage("another process writes to this memory bank").at("file", path.display())),
        // A file system without locks refuses in another way.
        _ => Ok(()),
    }
}

impl Log {
    /// Opens or begins a file for a bank with this decay.
    pub fn open(path: &Path, beta: f64, on_damage: OnDamage) -> Result<(Self, Kept, Recovery)> {
        let io = |error| Error::io(path, error);
        // What a killed rewriting left.
        match fs::remove_file(partial(path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(io)?;
        lock(&file, path)?;
        let length = file.metadata().map_err(io)?.len();
        let mut head = Vec::with_capacity(HEADER);
        (&mut file).take(HEADER as u64).read_to_end(&mut head).map_err(io)?;
        let right = header(beta);
        let mut recovery = Recovery::default();
        if head.len() < HEADER && right.starts_with(&head) {
            // Nothing, or a header that was not finished: nothing was recorded yet.
            recovery.torn_bytes = length;
            file.set_len(0).map_err(io)?;
            file.write_all(&right).map_err(io)?;
            return Ok((Self { path: path.to_owned(), file, records: 0, broken: false }, Vec::new(), recovery));
        }
        check_header(&head, &right).map_err(|error| error.at("file", path.display()))?;
        let mut read = Reading::default();
        let mut input = BufReader::with_capacity(WIDTH * 1024, &mut file);
        let mut bytes = [0u8; WIDTH];
        // Numbers of the bad records since the last good one: the file's end, unless another good one follows.
        let mut bad = 0u64;
        let whole = (length - HEADER as u64) / WIDTH as u64;
        for number in 0..whole {
            input.read_exact(&mut bytes).map_err(io)?;
            match record::read(&bytes) {
                None => bad += 1,
                Some(record) => {
                    if bad > 0 && on_damage == OnDamage::Fail {
                        let message = format!(
                            "record {} of the memory bank is damaged and good ones follow; open it with `OnDamage::Skip` to pass it over",
                            number - bad + 1
                        );
                        return Err(Error::data(message).at("file", path.display()));
                    }
                    recovery.damaged += bad;
                    bad = 0;
                    recovery.records += 1;
                    read.take(record);
                }
            }
        }
        drop(input);
        let good = whole - bad;
        recovery.torn_bytes = length - HEADER as u64 - good * WIDTH as u64;
        if recovery.torn_bytes > 0 {
            file.set_len(HEADER as u64 + good * WIDTH as u64).map_err(io)?;
        }
        let mut log = Self { path: path.to_owned(), file, records: good, broken: false };
        let (kept, nameless) = read.kept();
        recovery.nameless = nameless;
        if recovery.damaged > 0 {
            log.rewrite(beta, kept.len(), kept.iter().map(|(id, memory)| (id, memory)))?;
        }
        Ok((log, kept, recovery))
    }

    /// Records in the file.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Appends whole records. On an error the file is brought back to what it was before.
    pub fn append(&mut self, records: &[u8]) -> Result<()> {
        if self.broken {
            return Err(Error::new(crate::error::ErrorKind::Io, "the memory bank could not be written before; open it again")
                .at("file", self.path.display()));
        }
        if let Err(error) = self.file.write_all(records) {
            self.broken = self.file.set_len(HEADER as u64 + self.records * WIDTH as u64).is_err();
            return Err(Error::io(&self.path, error));
        }
        self.records += (records.len() / WIDTH) as u64;
        Ok(())
    }

    /// Waits until the disk holds all that was appended.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::io(&self.path, error))
    }

    /// Replaces the file by one that holds these `count` samples and no more: whole under another name first, then renamed.
    pub fn rewrite<'a>(&mut self, beta: f64, count: usize, kept: impl Iterator<Item = (&'a SampleId, &'a Memory)>) -> Result<()> {
        let path = partial(&self.path);
        let (file, records) = write(&path, beta, count, kept)?;
        lock(&file, &path)?;
        fs::rename(&path, &self.path).map_err(|error| Error::io(&self.path, error))?;
        (self.file, self.records, self.broken) = (file, records, false);
        Ok(())
    }
}

/// Writes a bank's file anew at `path` and waits until the disk holds it. Returns it, open for appending, and its records.
pub(super) fn write<'a>(
    path: &Path,
    beta: f64,
    count: usize,
    kept: impl Iterator<Item = (&'a SampleId, &'a Memory)>,
) -> Result<(File, u64)> {
    let io = |error| Error::io(path, error);
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let file = OpenOptions::new().append(true).create_new(true).open(path).map_err(io)?;
    let mut out = BufWriter::with_capacity(WIDTH * 1024, file);
    out.write_all(&header(beta)).map_err(io)?;
    let mut bytes = Vec::with_capacity(4 * WIDTH);
    let (mut records, mut written) = (0, 0);
    for (id, memory) in kept {
        bytes.clear();
        let key = record::key(id);
        record::push_name(&mut bytes, key, id);
        record::push_state(&mut bytes, key, memory);
        records += (bytes.len() / WIDTH) as u64;
        written += 1;
        out.write_all(&bytes).map_err(io)?;
    }
    if written != count {
        return Err(Error::internal(format!("{written} of {count} samples of a memory bank were written")));
    }
    let file = out.into_inner().map_err(|error| io(error.into_error()))?;
    file.sync_all().map_err(io)?;
    Ok((file, records))
}

fn check_header(found: &[u8], right: &[u8; HEADER]) -> Result<()> {
    if found.len() < HEADER || found[..8] != right[..8] || found[20..] != right[20..] {
        return Err(Error::data("not a memory bank, or one of another version"));
    }
    if found[8..12] != right[8..12] {
        return Err(Error::data("a memory bank with records of another width"));
    }
    if found[12..20] != right[12..20] {
        let beta = |bytes: &[u8]| bytes[12..20].try_into().map_or(f64::NAN, f64::from_le_bytes);
        return Err(Error::usage(format!("a memory bank with the decay {}, expected {}", beta(found), beta(right))));
    }
    Ok(())
}

/// The state of the samples while records are read.
#[derive(Default)]
struct Reading {
    of: HashMap<Key, Place>,
    order: Vec<Option<Key>>,
}

#[derive(Default)]
struct Place {
    name: Vec<u8>,
    /// Bytes of the whole name.
    length: Option<u32>,
    memory: Option<Memory>,
    /// Place in the order, once there is a state.
    at: usize,
}

impl Reading {
    fn take(&mut self, record: Record) {
        match record {
            Record::Name { key, at, of, part } => {
                let place = self.of.entry(key).or_default();
                if at == 0 {
                    place.name.clear();
                }
                // A part behind one that was lost does not fit.
                if place.name.len() == at as usize {
                    place.name.extend_from_slice(&part);
                    place.length = Some(of);
                }
            }
            Record::State { key, memory } => {
                let place = self.of.entry(key).or_default();
                if place.memory.replace(memory).is_none() {
                    place.at = self.order.len();
                    self.order.push(Some(key));
                }
            }
            Record::Gone { key } => {
                if let Some(place) = self.of.remove(&key).filter(|place| place.memory.is_some()) {
                    self.order[place.at] = None;
                }
            }
        }
    }

    /// What is known at the end, and how many states have no whole name.
    fn kept(mut self) -> (Kept, u64) {
        let mut kept = Vec::with_capacity(self.of.len());
        let mut nameless = 0;
        for key in self.order.into_iter().flatten() {
            let Some(Place { name, length, memory: Some(memory), .. }) = self.of.remove(&key) else { continue };
            let whole = length.is_some_and(|length| length as usize == name.len());
            match String::from_utf8(name) {
                Ok(name) if whole => kept.push((SampleId::new(name), memory)),
                _ => nameless += 1,
            }
        }
        (kept, nameless)
    }
}
