//! Server-sent events.

use proptest::prelude::*;

use crate::mcp::codec::{Event, Events, Message, SseError};

fn all(text: &str, piece: usize) -> Result<Vec<Event>, SseError> {
    let mut events = Events::new(1 << 12);
    let mut read = Vec::new();
    for piece in text.as_bytes().chunks(piece.max(1)) {
        read.extend(events.push(piece)?);
    }
    read.extend(events.finish()?);
    Ok(read)
}

#[test]
fn fields_are_read_as_the_standard_says() {
    let text = "\u{feff}: hi\nid: 7\nevent: message\nretry: 3000\ndata: {\"a\":\ndata:  1}\nother: x\n\n:\r\n\r\ndata\n\n";
    for piece in 1..text.len() {
        let events = all(text, piece).unwrap();
        assert_eq!(events.len(), 3, "{piece}");
        assert_eq!(events[0].id.as_deref(), Some("7"));
        assert_eq!(events[0].name.as_deref(), Some("message"));
        assert_eq!(events[0].retry_ms, Some(3000));
        assert_eq!(events[0].data.as_deref(), Some("{\"a\":\n 1}"));
        assert_eq!(events[1].data, None);
        assert_eq!(events[2].data.as_deref(), Some(""));
    }
}

#[test]
fn an_event_is_given_as_soon_as_its_blank_line_is_there() {
    let mut events = Events::default();
    assert!(events.push(b"data: 1\n").unwrap().is_empty());
    assert_eq!(events.push(b"\n").unwrap().len(), 1);
    assert_eq!(events.push(b"data: 2\r\n\r\ndata: 3\r\r").unwrap().len(), 1);
    // A lone carriage return may still be half of a line end.
    assert_eq!(events.push(b"data: 4\n\n").unwrap().len(), 2);
}

#[test]
fn an_event_that_does_not_end_is_cut_off() {
    let mut events = Events::new(64);
    assert!(events.push(&[b'a'; 64]).unwrap().is_empty());
    assert_eq!(events.push(b"a"), Err(SseError::TooLong { bytes_max: 64 }));
    let mut events = Events::new(64);
    let long = format!("data: {}\n\n", "a".repeat(64));
    assert_eq!(events.push(long.as_bytes()), Err(SseError::TooLong { bytes_max: 64 }));
}

#[test]
fn a_stream_that_ends_inside_an_event_says_so() {
    assert_eq!(all("data: 1\n", 3), Err(SseError::Unfinished));
    assert_eq!(all("data: 1\r\r", 3).unwrap().len(), 1);
    assert_eq!(all("", 1), Ok(Vec::new()));
}

#[test]
fn only_messages_come_out_of_it() {
    let event = |text: &str| all(text, 100).unwrap().remove(0).message();
    let message =
        event("data: {\"jsonrpc\":\"2.0\",\ndata: \"method\":\"notifications/message\"}\n\n");
    assert!(matches!(message, Ok(Some(Message::Notification(_)))));
    assert!(matches!(event("id: 1\ndata:\n\n"), Ok(None)));
    assert!(matches!(event(": keep\n\n"), Ok(None)));
    assert!(matches!(event("event: endpoint\ndata: /messages\n\n"), Err(SseError::Name)));
    assert!(matches!(event("data: [1]\n\n"), Err(SseError::Message(_))));
    assert!(all("data: \u{e9}\n\n", 7).is_ok());
    let mut events = Events::default();
    assert_eq!(events.push(b"data: \xff\n\n"), Err(SseError::NotUtf8));
}

#[test]
fn an_event_with_other_data_keeps_its_id_and_its_name() {
    let event = all("id: 9\nevent: message\ndata: old\n\n", 100).unwrap().remove(0);
    let written = event.with_data("{\n\"a\":1}");
    assert_eq!(written, "id: 9\nevent: message\ndata: {\ndata: \"a\":1}\n\n");
}

proptest! {
    #[test]
    fn a_stream_is_passed_on_byte_for_byte_however_it_is_cut(
        text in "(data: [a-z]{0,3}|: k|id:[0-9]|event: x|)(\n|\r\n|\r)?(\n|\r\n)?(data: y\n\n)?\n?\n",
        piece in 1..9_usize,
    ) {
        if let Ok(events) = all(&text, piece) {
            let raw: Vec<u8> = events.iter().flat_map(|event| event.raw().iter().copied()).collect();
            prop_assert_eq!(raw, text.as_bytes());
        }
    }

    #[test]
    fn the_cut_does_not_change_what_is_read(
        lines in proptest::collection::vec("(data: ?[a-z]{0,3}|:|id: 1|)(\n|\r\n)", 0..12),
        piece in 1..9_usize,
    ) {
        let text = lines.concat() + "\n";
        prop_assert_eq!(all(&text, piece), all(&text, text.len()));
    }

    #[test]
    fn data_comes_back_as_it_was_written(data in "[a-z :\n]{0,40}") {
        let events = all(std::str::from_utf8(&Event::of(&data)).unwrap(), 100).unwrap();
        prop_assert_eq!(events[0].data.as_deref(), Some(data.as_str()));
    }
}
