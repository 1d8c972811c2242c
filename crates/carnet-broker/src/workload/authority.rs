//! The `:authority` of callers that have none. Over a Unix socket there is no host; gRPC's own core
//! (the library below its Python, C++, Ruby and PHP clients) then sends the file path of the socket,
//! percent-encoded, and an HTTP/2 server that reads authorities strictly ends the call. Nothing here
//! depends on the authority, so what no authority can hold is replaced, byte for byte, before it is read.
//!
//! Only the shape of header blocks is followed (RFC 7541 section 6), never their meaning: lengths
//! stay, so both sides' tables stay the same. What is not understood passes as it came.

/// How HTTP/2 begins (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;
/// The head of a frame (RFC 9113 section 4.1).
const HEAD_BYTES: usize = 9;
/// The longest frame held; no client sends longer ones unasked.
const FRAME_BYTES_MAX: usize = 16_384;
/// The type of a frame that begins a header block.
const HEADERS: u8 = 1;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;
/// Where the name `:authority` stands in the static table (RFC 7541 appendix A).
const AUTHORITY_INDEX: usize = 1;
const AUTHORITY: &[u8] = b":authority";
/// What stands for what no authority can hold.
const REPLACED: u8 = b'-';

/// What was read of one connection and is not passed on yet.
#[derive(Debug)]
pub(super) struct Authorities {
    held: Vec<u8>,
    /// How many bytes pass as they come.
    passing: usize,
}

impl Default for Authorities {
    fn default() -> Self {
        Self { held: Vec::new(), passing: PREFACE_BYTES }
    }
}

impl Authorities {
    /// Takes `bytes` as they came, and adds to `out` what can be read of them by now.
    pub(super) fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let wanted = match self.passing {
                0 => self.wanted(),
                passing => passing,
            };
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            if self.passing > 0 {
                out.extend_from_slice(taken);
                self.passing -= taken.len();
                continue;
            }
            self.held.extend_from_slice(taken);
            self.judge(out);
        }
    }

    /// What is left when no more comes.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    /// How many bytes are missing of a head, or of the frame behind it.
    fn wanted(&self) -> usize {
        match Head::read(&self.held) {
            None => HEAD_BYTES - self.held.len(),
            Some(head) => HEAD_BYTES + head.length - self.held.len(),
        }
    }

    fn judge(&mut self, out: &mut Vec<u8>) {
        let Some(head) = Head::read(&self.held) else { return };
        let is_held = head.kind == HEADERS && head.length <= FRAME_BYTES_MAX && head.length > 0;
        if !is_held {
            out.append(&mut self.held);
            self.passing = head.length;
        } else if self.held.len() == HEAD_BYTES + head.length {
            if let Some((_, payload)) = self.held.split_at_mut_checked(HEAD_BYTES) {
                clean(payload, head.flags);
            }
            out.append(&mut self.held);
        }
    }
}

struct Head {
    length: usize,
    kind: u8,
    flags: u8,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [high, middle, low, kind, flags, ..] = *bytes.first_chunk::<HEAD_BYTES>()?;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        Some(Self { length, kind, flags })
    }
}

/// Replaces what no authority can hold in the authorities of a header block.
fn clean(payload: &mut [u8], flags: u8) {
    let padding = if flags & PADDED != 0 { 1 } else { 0 };
    let priority = if flags & PRIORITY != 0 { 5 } else { 0 };
    let Some(block) = payload.get_mut(padding + priority..) else { return };
    let mut reader = Reader { block, at: 0 };
    while reader.field().is_some() {}
}

/// Whether an authority can hold `byte` (RFC 3986 section 3.2).
const fn is_of_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b':'
                | b'['
                | b']'
                | b'@'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

/// Walks a header block field by field.
struct Reader<'a> {
    block: &'a mut [u8],
    at: usize,
}

impl Reader<'_> {
    /// Walks over one field; nothing at the end, or where it is not understood.
    fn field(&mut self) -> Option<()> {
        let first = *self.block.get(self.at)?;
        let name_bits = match first {
            0x80.. => return self.number(7).map(drop),
            0x40.. => 6,
            0x20.. => return self.number(5).map(drop),
            _ => 4,
        };
        let index = self.number(name_bits)?;
        let is_authority = match index {
            0 => {
                let (start, end, is_plain) = self.text()?;
                is_plain && self.block.get(start..end)? == AUTHORITY
            }
            index => index == AUTHORITY_INDEX,
        };
        let (start, end, is_plain) = self.text()?;
        if is_authority && is_plain {
            for byte in self.block.get_mut(start..end)? {
                if !is_of_authority(*byte) {
                    *byte = REPLACED;
                }
            }
        }
        Some(())
    }

    /// Where a text begins and ends, and whether it is as it reads, not Huffman-coded.
    fn text(&mut self) -> Option<(usize, usize, bool)> {
        let is_plain = self.block.get(self.at)? & 0x80 == 0;
        let length = self.number(7)?;
        let (start, end) = (self.at, self.at.checked_add(length)?);
        if end > self.block.len() {
            return None;
        }
        self.at = end;
        Some((start, end, is_plain))
    }

    /// A number that begins in the last `bits` of a byte (RFC 7541 section 5.1).
    fn number(&mut self, bits: u32) -> Option<usize> {
        let most = (1usize << bits) - 1;
        let first = usize::from(*self.block.get(self.at)?) & most;
        self.at += 1;
        if first < most {
            return Some(first);
        }
        let mut number = most;
        for shift in [0, 7, 14] {
            let byte = *self.block.get(self.at)?;
            self.at += 1;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    fn text(text: &str) -> Vec<u8> {
        [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
    }

    /// A block as gRPC's core sends it: indexed fields, then the authority, then the call's path.
    fn block(authority: &str) -> Vec<u8> {
        [&[0x83, 0x86, 0x41][..], &text(authority), &[0x44], &text("/Spiffe%2F")].concat()
    }

    fn passed(bytes: &[u8], step: usize) -> Vec<u8> {
        let (mut authorities, mut out) = (Authorities::default(), Vec::new());
        for some in bytes.chunks(step) {
            authorities.feed(some, &mut out);
        }
        authorities.finish(&mut out);
        out
    }

    fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frames.concat()].concat()
    }

    #[test]
    fn a_file_path_in_place_of_an_authority_becomes_one_and_nothing_else_changes() {
        let (odd, even) = ("%2Frun%2Fagent.sock", "-2Frun-2Fagent.sock");
        let frames = |authority: &str| {
            let padded = [&[2u8, 0, 0, 0, 0, 16][..], &block(authority), &[0, 0]].concat();
            let named = [&[0u8][..], &text(":authority"), &text(authority)].concat();
            connection(&[
                frame(4, 0, b"%2F%2F"),
                frame(HEADERS, 0x04, &block(authority)),
                frame(0, 0, &vec![b'%'; 40_000]),
                frame(HEADERS, 0x04 | PADDED | PRIORITY, &padded),
                frame(HEADERS, 0x04, &named),
            ])
        };
        for step in [1, 7, 64, usize::MAX] {
            assert_eq!(passed(&frames(odd), step), frames(even), "in steps of {step}");
        }
        assert_eq!(passed(&frames("localhost:8"), 5), frames("localhost:8"));
    }

    #[test]
    fn what_is_not_understood_passes_as_it_came() {
        for payload in [
            &[][..],
            &[0x41],
            &[0x41, 0x7f, 0xff, 0xff, 0xff, 0xff],
            &[0x41, 200, b'%'],
            &[0x41, 0x83, b'%', b'%', b'%'],
            &[0xff; 9],
        ] {
            let sent = connection(&[frame(HEADERS, 0x04, payload), frame(6, 0, b"%%%%%%%%")]);
            assert_eq!(passed(&sent, 3), sent, "{payload:?}");
        }
        let long = connection(&[frame(HEADERS, 0x04, &vec![0x41; FRAME_BYTES_MAX + 1])]);
        assert_eq!(passed(&long, 1_000), long);
        assert_eq!(passed(b"GET / HTTP/1.1\r\nhost: %2F\r\n\r\n", 4).len(), 29);
        let cut = &connection(&[frame(HEADERS, 0x04, &block("%2F"))])[..30];
        assert_eq!(passed(cut, 2), cut);
    }
}
