//! Frames: how records lie in segment and sidecar files.
//!
//! `type u8 | length u32 | crc32c u32 | bytes`, integers big-endian, the checksum over type, length
//! and bytes. Type 0 marks the unwritten rest of a preallocated file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{DiskFile, read_full};
use crate::error::{IoContext, LedgerError};

/// What a frame carries. The numbers are lasting format; all are below 0x20, so that a frame can
/// never hide in the text of a leaf.
pub(crate) const HEADER: u8 = 1;
/// Begins what was written and synced together; carries the index of the next leaf.
pub(crate) const BATCH: u8 = 2;
/// One leaf.
pub(crate) const LEAF: u8 = 3;
/// The sealed values of one leaf (sidecar).
pub(crate) const SEALED: u8 = 4;

/// Bytes before the content of a frame.
pub(crate) const HEAD_BYTES: usize = 9;
/// The longest content of any frame: sealed values with room for names.
pub(crate) const CONTENT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How much is read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Appends one frame.
pub(crate) fn push(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let start = [kind, 0, 0, 0, 0];
    let mut start = start;
    for (to, from) in start.iter_mut().skip(1).zip((bytes as u32).to_be_bytes()) {
        *to = from;
    }
    let sum =
        parts.iter().fold(crc32c::crc32c(&start), |sum, part| crc32c::crc32c_append(sum, part));
    out.reserve(HEAD_BYTES + bytes);
    out.extend_from_slice(&start);
    out.extend_from_slice(&sum.to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// What lies at one place of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A whole frame with a right checksum.
    Frame { kind: u8, content: &'a [u8], offset: u64 },
    /// The unwritten rest, or the end of the file.
    End { offset: u64 },
    /// Bytes that are no frame.
    Bad { offset: u64, why: &'static str },
}

enum Peek {
    Whole(usize),
    Short(usize),
    End,
    Bad(&'static str),
}

/// Judges the frame at the start of `bytes`.
fn peek(bytes: &[u8]) -> Peek {
    let Some(&kind) = bytes.first() else { return Peek::End };
    if kind == 0 {
        return Peek::End;
    }
    if kind > SEALED {
        return Peek::Bad("an unknown frame type");
    }
    let Some((start, rest)) = bytes.split_at_checked(5) else { return Peek::Short(HEAD_BYTES) };
    let Some((sum, content)) = rest.split_at_checked(4) else { return Peek::Short(HEAD_BYTES) };
    let bytes = number(start.get(1..).unwrap_or_default());
    if bytes > CONTENT_BYTES_MAX {
        return Peek::Bad("a frame longer than any may be");
    }
    let Some(content) = content.get(..bytes) else { return Peek::Short(HEAD_BYTES + bytes) };
    if crc32c::crc32c_append(crc32c::crc32c(start), content) as usize != number(sum) {
        return Peek::Bad("a wrong checksum");
    }
    Peek::Whole(bytes)
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte))
}

/// Reads frames one after the other with bounded memory.
pub(crate) struct Frames {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    /// What was read and not yet handed out starts here in the file.
    offset: u64,
    buffer: Vec<u8>,
    used: usize,
    /// Bytes of the frame handed out last.
    last: usize,
}

impl Frames {
    pub(crate) fn new(file: &Arc<dyn DiskFile>, path: &Path, offset: u64) -> Self {
        let (file, path) = (Arc::clone(file), path.to_path_buf());
        Self { file, path, offset, buffer: Vec::new(), used: 0, last: 0 }
    }

    /// The file that is read.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next frame. After `End` or `Bad` it stays there.
    pub(crate) fn step(&mut self) -> Result<Step<'_>, LedgerError> {
        self.used += self.last;
        self.offset += self.last as u64;
        self.last = 0;
        let mut at_end = false;
        loop {
            let rest = self.buffer.get(self.used..).unwrap_or_default();
            let wanted = match peek(rest) {
                Peek::Whole(bytes) => {
                    self.last = HEAD_BYTES + bytes;
                    break;
                }
                Peek::Bad(why) => return Ok(Step::Bad { offset: self.offset, why }),
                Peek::End if !rest.is_empty() || at_end => {
                    return Ok(Step::End { offset: self.offset });
                }
                Peek::Short(_) if at_end => {
                    return Ok(Step::Bad { offset: self.offset, why: "a frame cut short" });
                }
                Peek::End => HEAD_BYTES,
                Peek::Short(wanted) => wanted,
            };
            at_end = !self.fill(wanted)?;
        }
        let frame = self.buffer.get(self.used..self.used + self.last).unwrap_or_default();
        let kind = frame.first().copied().unwrap_or_default();
        let content = frame.get(HEAD_BYTES..).unwrap_or_default();
        Ok(Step::Frame { kind, content, offset: self.offset })
    }

    /// Reads on until `wanted` bytes are there; false when the file ends before.
    fn fill(&mut self, wanted: usize) -> Result<bool, LedgerError> {
        self.buffer.drain(..self.used.min(self.buffer.len()));
        self.used = 0;
        let had = self.buffer.len();
        self.buffer.resize(had + READ_BYTES.max(wanted), 0);
        let into = self.buffer.get_mut(had..).unwrap_or_default();
        let read = read_full(&*self.file, into, self.offset + had as u64).at("read", &self.path)?;
        self.buffer.truncate(had + read);
        Ok(self.buffer.len() >= wanted)
    }
}

/// Reads the one frame at `offset`, of any type; `None` when no whole frame is there.
pub(crate) fn read_one(
    file: &Arc<dyn DiskFile>,
    path: &Path,
    offset: u64,
) -> Result<Option<(u8, Vec<u8>)>, LedgerError> {
    let mut head = vec![0; HEAD_BYTES];
    let read = read_full(&**file, &mut head, offset).at("read", path)?;
    let bytes = match peek(head.get(..read).unwrap_or_default()) {
        Peek::Short(bytes) => bytes,
        Peek::Whole(0) => HEAD_BYTES,
        _ => return Ok(None),
    };
    let mut frame = vec![0; bytes];
    let read = read_full(&**file, &mut frame, offset).at("read", path)?;
    frame.truncate(read);
    Ok(match (peek(&frame), frame.first().copied()) {
        (Peek::Whole(_), Some(kind)) => {
            frame.drain(..HEAD_BYTES);
            Some((kind, frame))
        }
        _ => None,
    })
}

/// What lies behind the last good frame.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub(crate) struct Tail {
    /// Bytes from there to the last one that is not zero.
    pub(crate) torn_bytes: u64,
    /// Where a later batch begins. It was written only after everything before it was synced.
    pub(crate) later_batch: Option<u64>,
}

/// Looks through everything from `offset` to the end of the file.
pub(crate) fn tail(file: &dyn DiskFile, path: &Path, offset: u64) -> Result<Tail, LedgerError> {
    const FRAME: usize = HEAD_BYTES + 8;
    let mut out = Tail::default();
    let mut at = offset;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = read_full(file, &mut buffer, at).at("read", path)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            out.torn_bytes = at + last as u64 + 1 - offset;
            let begins = |window: &[u8]| {
                window.first() == Some(&BATCH) && matches!(peek(window), Peek::Whole(8))
            };
            if out.later_batch.is_none()
                && let Some(found) = bytes.windows(FRAME).position(begins)
            {
                out.later_batch = Some(at + found as u64).filter(|found| *found > offset);
            }
        }
        if read < buffer.len() {
            return Ok(out);
        }
        // The next read overlaps, so that a frame across the border is seen.
        at += (READ_BYTES - FRAME + 1) as u64;
    }
}
