//! Server-sent events: read piece by piece, passed on as they came.

use bytes::{Bytes, BytesMut};

use super::message::{Message, Sender, read_message};
use super::refusal::Refusal;

/// The most bytes of one event, fields and line ends included.
pub const EVENT_BYTES_MAX: usize = 17 << 20;
/// The longest id and event name.
const FIELD_BYTES_MAX: usize = 1024;

/// Why a stream is cut off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event that does not end.
    #[error("an event of the stream is longer than {bytes_max} bytes")]
    TooLong {
        /// The bound.
        bytes_max: usize,
    },
    /// Not UTF-8.
    #[error("an event of the stream is not UTF-8")]
    NotUtf8,
    /// An id or a name that is too long.
    #[error("an id or a name in the stream is longer than {FIELD_BYTES_MAX} bytes")]
    Field,
    /// An event of a name that MCP does not use.
    #[error("an event of the stream has a name that is not understood")]
    Name,
    /// The stream ended inside an event.
    #[error("the stream ended inside an event")]
    Unfinished,
    /// What the event holds is no message.
    #[error(transparent)]
    Message(#[from] Refusal),
}

/// One block of the stream, up to and with its blank line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Its id, where the stream can be resumed.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its data, lines joined; `None` for a comment that keeps the connection.
    pub data: Option<String>,
    /// How long to wait before reconnecting.
    pub retry_ms: Option<u64>,
    raw: Bytes,
}

impl Event {
    /// The original bytes.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The message it holds, if it holds one. An event of a name MCP does not use is an error: a
    /// client might act on what we did not look at.
    pub fn message(&self) -> Result<Option<Message>, SseError> {
        if self.name.as_deref().is_some_and(|name| !name.is_empty() && name != "message") {
            return Err(SseError::Name);
        }
        match &self.data {
            // An empty one only gives the client an id to resume from.
            None => Ok(None),
            Some(data) if data.is_empty() => Ok(None),
            Some(data) => {
                let bytes = Bytes::copy_from_slice(data.as_bytes());
                Ok(Some(read_message(bytes, Sender::Server)?))
            }
        }
    }

    /// The same event with other data, written out.
    pub fn with_data(&self, data: &str) -> Bytes {
        let mut out = String::with_capacity(data.len() + 64);
        let mut field = |name: &str, value: &str| {
            out.push_str(name);
            out.push_str(": ");
            out.push_str(value);
            out.push('\n');
        };
        if let Some(id) = &self.id {
            field("id", id);
        }
        if let Some(name) = &self.name {
            field("event", name);
        }
        if let Some(retry_ms) = self.retry_ms {
            field("retry", &retry_ms.to_string());
        }
        for line in data.split(['\n', '\r']) {
            field("data", line);
        }
        out.push('\n');
        Bytes::from(out)
    }

    /// One event that holds `data` and nothing else.
    pub fn of(data: &str) -> Bytes {
        Self::default().with_data(data)
    }
}

/// A stream being read.
#[derive(Debug)]
pub struct Events {
    pending: BytesMut,
    /// Up to where `pending` was looked at, and where the line there begins.
    seen: usize,
    line: usize,
    bytes_max: usize,
    begun: bool,
}

impl Default for Events {
    fn default() -> Self {
        Self::new(EVENT_BYTES_MAX)
    }
}

impl Events {
    /// A stream whose events are at most `bytes_max` long.
    pub fn new(bytes_max: usize) -> Self {
        Self { pending: BytesMut::new(), seen: 0, line: 0, bytes_max, begun: false }
    }

    /// Takes the next piece and gives the events it completes.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Event>, SseError> {
        self.pending.extend_from_slice(piece);
        let mut events = Vec::new();
        while let Some(raw) = self.block(false) {
            events.push(self.event(raw)?);
        }
        if self.pending.len() > self.bytes_max {
            return Err(SseError::TooLong { bytes_max: self.bytes_max });
        }
        Ok(events)
    }

    /// The end of the stream: the last event, if its blank line is there.
    pub fn finish(mut self) -> Result<Option<Event>, SseError> {
        let last = match self.block(true) {
            Some(raw) => Some(self.event(raw)?),
            None => None,
        };
        if self.pending.is_empty() { Ok(last) } else { Err(SseError::Unfinished) }
    }

    /// The bytes up to and with the next blank line. A carriage return at the very end waits: the
    /// line feed that may follow belongs to it.
    fn block(&mut self, is_end: bool) -> Option<Bytes> {
        loop {
            let rest = self.pending.get(self.seen..)?;
            let Some(offset) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
                self.seen = self.pending.len();
                return None;
            };
            let at = self.seen.saturating_add(offset);
            let after = match (self.pending.get(at), self.pending.get(at.saturating_add(1))) {
                (Some(b'\r'), Some(b'\n')) => at.saturating_add(2),
                (Some(b'\r'), None) if !is_end => {
                    self.seen = at;
                    return None;
                }
                _ => at.saturating_add(1),
            };
            let is_blank = at == self.line;
            (self.seen, self.line) = (after, after);
            if is_blank {
                (self.seen, self.line) = (0, 0);
                return Some(self.pending.split_to(after).freeze());
            }
        }
    }

    fn event(&mut self, raw: Bytes) -> Result<Event, SseError> {
        if raw.len() > self.bytes_max {
            return Err(SseError::TooLong { bytes_max: self.bytes_max });
        }
        let mut event = Event::default();
        let mut text = std::str::from_utf8(&raw).map_err(|_| SseError::NotUtf8)?;
        if !self.begun {
            text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
            self.begun = true;
        }
        // A carriage return and line feed give an empty line between them, which says nothing.
        for line in text.split(['\n', '\r']) {
            field(&mut event, line)?;
        }
        event.raw = raw;
        Ok(event)
    }
}

fn field(event: &mut Event, line: &str) -> Result<(), SseError> {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.strip_prefix(' ').unwrap_or(value);
    match name {
        "data" => match &mut event.data {
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
            None => event.data = Some(value.to_owned()),
        },
        "id" | "event" if value.len() > FIELD_BYTES_MAX => return Err(SseError::Field),
        "id" if !value.contains('\0') => event.id = Some(value.to_owned()),
        "event" => event.name = Some(value.to_owned()),
        "retry" if value.bytes().all(|b| b.is_ascii_digit()) => event.retry_ms = value.parse().ok(),
        // Comments, and fields the standard tells readers to pass over.
        _ => {}
    }
    Ok(())
}
