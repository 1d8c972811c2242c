//! A series of preallocated, numbered files: the segments, and the sidecar.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::canonical::{self, Wide};
use crate::disk::{Disk, DiskFile};
use crate::error::{IoContext, LedgerError};
use crate::frame;

/// Most files of one series.
const FILES_MAX: usize = 10_000_000;
/// How much of a file's start is cleared for its header.
const HEADER_BYTES_MAX: usize = 4096;

/// Numbered files in one directory.
#[derive(Clone)]
pub(crate) struct Series {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    /// The end of a file's name.
    end: &'static str,
    origin: String,
}

/// The file that is written, and where.
pub(crate) struct Tip {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    pub(crate) number: u64,
    pub(crate) offset: u64,
    pub(crate) capacity: u64,
}

impl Tip {
    pub(crate) fn room(&self) -> u64 {
        self.capacity.saturating_sub(self.offset)
    }
}

/// The last outbox position that a log holds, and its leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutboxMark {
    pub(crate) seq: u64,
    pub(crate) revision: u64,
    pub(crate) index: u64,
}

/// The first frame of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: u64,
    /// The last outbox position written before this file.
    pub(crate) outbox: Option<OutboxMark>,
}

impl Series {
    /// The files that hold the leaves, each named after its first leaf.
    pub(crate) fn segments(disk: &Arc<dyn Disk>, dir: &Path, origin: &str) -> Self {
        let (disk, origin) = (Arc::clone(disk), origin.to_owned());
        Self { disk, dir: dir.join("seg"), end: "wal", origin }
    }

    /// The files that hold sealed values, numbered from 0.
    pub(crate) fn sidecar(disk: &Arc<dyn Disk>, dir: &Path, origin: &str) -> Self {
        let (disk, origin) = (Arc::clone(disk), origin.to_owned());
        Self { disk, dir: dir.join("sidecar"), end: "sealed", origin }
    }

    pub(crate) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:012}.{}", self.end))
    }

    /// The numbers of the files there are, in order.
    pub(crate) fn numbers(&self) -> Result<Vec<u64>, LedgerError> {
        let names = self.disk.list(&self.dir).at("list", &self.dir)?;
        let number = |name: &String| {
            let (number, end) = name.split_once('.')?;
            let plain = number.len() >= 12 && number.bytes().all(|b| b.is_ascii_digit());
            (plain && end == self.end).then(|| number.parse().ok()).flatten()
        };
        let mut numbers: Vec<u64> = names.iter().filter_map(number).take(FILES_MAX).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(crate) fn open_read(&self, number: u64) -> Result<Arc<dyn DiskFile>, LedgerError> {
        let path = self.path(number);
        self.disk.open_read(&path).at("open", &path)
    }

    fn header(&self, number: u64, outbox: Option<OutboxMark>) -> Result<Vec<u8>, LedgerError> {
        let mut header = Map::new();
        header.insert("first".into(), number.into());
        header.insert("origin".into(), self.origin.as_str().into());
        header.insert("series".into(), self.end.into());
        header.insert("v".into(), 1.into());
        if let Some(mark) = outbox {
            let mark = json!({"index": mark.index, "revision": mark.revision, "seq": mark.seq});
            header.insert("outbox".into(), mark);
        }
        let mut content = Vec::new();
        canonical::write_map(&mut content, &header, Wide::Text)?;
        let mut out = Vec::new();
        frame::push(&mut out, frame::HEADER, &[&content]);
        Ok(out)
    }

    /// Reads a file's header; `None` when it is not one of this series and number.
    pub(crate) fn read_header(&self, number: u64, content: &[u8]) -> Option<Header> {
        let value: Value = serde_json::from_slice(content).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let ours = text("origin") == Some(&self.origin)
            && text("series") == Some(self.end)
            && value.get("v").and_then(Value::as_u64) == Some(1)
            && value.get("first").and_then(wide) == Some(number);
        let outbox = value.get("outbox").and_then(|mark| {
            let member = |name: &str| mark.get(name).and_then(wide);
            let (seq, revision, index) = (member("seq")?, member("revision")?, member("index")?);
            Some(OutboxMark { seq, revision, index })
        });
        ours.then_some(Header { number, outbox })
    }

    /// Makes the next file, durable and with its space set aside. It gets its name last, so that a
    /// file of the series always has its header.
    pub(crate) fn begin(
        &self,
        number: u64,
        bytes: u64,
        outbox: Option<OutboxMark>,
    ) -> Result<Tip, LedgerError> {
        let next = self.dir.join("next.tmp");
        let file = self.disk.create(&next).at("make", &next)?;
        if let Err(error) = file.allocate(bytes).at("set aside space for", &next) {
            // What was set aside so far would keep others from space; it is gone at a restart too.
            let _ = self.disk.remove(&next);
            return Err(error);
        }
        self.adopt(file, &next, number, outbox)
    }

    /// Turns a file kept in reserve into the next file.
    pub(crate) fn begin_from(
        &self,
        reserve: &Path,
        number: u64,
        outbox: Option<OutboxMark>,
    ) -> Result<Tip, LedgerError> {
        let file = self.disk.open(reserve).at("open", reserve)?;
        self.adopt(file, reserve, number, outbox)
    }

    fn adopt(
        &self,
        file: Arc<dyn DiskFile>,
        from: &Path,
        number: u64,
        outbox: Option<OutboxMark>,
    ) -> Result<Tip, LedgerError> {
        let header = self.header(number, outbox)?;
        let offset = header.len() as u64;
        // Zeros behind it, should an earlier header have been longer.
        let mut start = header;
        start.resize(HEADER_BYTES_MAX.max(start.len()), 0);
        file.write_at(&start, 0).at("write", from)?;
        file.sync().at("sync", from)?;
        let capacity = file.bytes().at("measure", from)?;
        let path = self.path(number);
        self.disk.rename(from, &path).at("rename", from)?;
        self.disk.sync_dir(&self.dir).at("sync", &self.dir)?;
        Ok(Tip { file, path, number, offset, capacity })
    }
}

fn wide(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str().and_then(crate::text::decimal))
}
