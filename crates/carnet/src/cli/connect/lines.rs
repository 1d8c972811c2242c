//! Messages as lines: what comes in on standard input and goes out on standard output.
//!
//! Both are plain threads. A read of standard input cannot be interrupted, and a runtime that waits
//! for one at its end would never end.

use std::io::{BufRead, Write};

use bytes::Bytes;
use tokio::sync::mpsc;

/// The longest line read.
pub(crate) const LINE_BYTES_MAX: usize = 4 << 20;

/// One line of input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line, without its end.
    Message(Bytes),
    /// A line longer than we read; it was passed over.
    TooLong,
}

/// Reads lines until the input ends or nobody wants them. Blank ones are passed over.
pub(crate) fn read_lines(mut input: impl BufRead, lines: &mpsc::Sender<Line>) {
    let mut line = Vec::new();
    let mut is_too_long = false;
    loop {
        let Ok(piece) = input.fill_buf() else { return };
        let is_end = piece.is_empty();
        let end = piece.iter().position(|b| *b == b'\n');
        let (piece, taken) = match end {
            Some(end) => (piece.get(..end).unwrap_or_default(), end.saturating_add(1)),
            None => (piece, piece.len()),
        };
        is_too_long |= line.len().saturating_add(piece.len()) > LINE_BYTES_MAX;
        if !is_too_long {
            line.extend_from_slice(piece);
        }
        input.consume(taken);
        if end.is_none() && !is_end {
            continue;
        }
        let whole = match std::mem::take(&mut is_too_long) {
            true => Some(Line::TooLong),
            false if line.iter().all(u8::is_ascii_whitespace) => None,
            false => Some(Line::Message(Bytes::from(std::mem::take(&mut line)))),
        };
        line.clear();
        if whole.is_some_and(|whole| lines.blocking_send(whole).is_err()) || is_end {
            return;
        }
    }
}

/// Writes each message as a line until there are no more, or nobody reads them.
pub(crate) fn write_lines(mut messages: mpsc::Receiver<Bytes>, mut output: impl Write) {
    while let Some(message) = messages.blocking_recv() {
        let line = one_line(&message);
        let written = output.write_all(&line).and_then(|()| output.write_all(b"\n"));
        if written.and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}

/// A JSON text on one line. In JSON a line end stands only between values, where a blank says the
/// same.
fn one_line(message: &Bytes) -> Bytes {
    let is_end = |b: &u8| matches!(b, b'\n' | b'\r');
    if !message.iter().any(is_end) {
        return message.clone();
    }
    message.iter().map(|b| if is_end(b) { b' ' } else { *b }).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;

    fn lines(input: Vec<u8>) -> Vec<Line> {
        let (sender, mut receiver) = mpsc::channel(64);
        read_lines(BufReader::with_capacity(7, Cursor::new(input)), &sender);
        drop(sender);
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    fn message(text: &str) -> Line {
        Line::Message(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn each_line_is_a_message_the_last_one_too() {
        let read = lines(b"{\"a\":1}\n\n  \r\n{\"b\": \"long enough\"}\n{\"c\":3}".to_vec());
        let expected = ["{\"a\":1}", "{\"b\": \"long enough\"}", "{\"c\":3}"].map(message);
        assert_eq!(read, expected);
    }

    #[test]
    fn a_line_without_an_end_in_sight_is_passed_over_and_the_next_is_read() {
        let mut input = vec![b'x'; LINE_BYTES_MAX + 1];
        input.extend_from_slice(b"\n{}\n");
        assert_eq!(lines(input), [Line::TooLong, message("{}")]);
        let whole = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(lines(whole.clone()), [Line::Message(Bytes::from(whole))]);
    }

    #[test]
    fn a_message_of_several_lines_leaves_as_one() {
        let (sender, receiver) = mpsc::channel(2);
        sender.try_send(Bytes::from_static(b"{\r\n  \"a\": \"b\\n\"\n}")).unwrap();
        sender.try_send(Bytes::from_static(b"{}")).unwrap();
        drop(sender);
        let mut out = Vec::new();
        write_lines(receiver, &mut out);
        assert_eq!(out, b"{    \"a\": \"b\\n\" }\n{}\n");
    }
}
