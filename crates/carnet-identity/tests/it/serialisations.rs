//! What is not a token, however it is written. Row C of the checklist.

use carnet_identity::verify_access;
use serde_json::json;

use crate::cases::{Row, check};
use crate::forge::{EXPECTED, NOW, World, pair, sign_es256};

#[test]
fn there_is_one_serialisation_and_one_reading_of_it() {
    let world = World::new();
    let (head, claims) = (world.access_header(), world.payload());
    let good = world.sign_access(&head, &claims.to_string());
    let parts: Vec<&str> = good.split('.').collect();
    let raw = |header: &str, payload: &[u8]| sign_es256(&pair(&world.access), header, payload);
    let header = head.to_string();
    let text = claims.to_string();
    let inside = |extra: &str| text.replacen('{', &format!("{{{extra},"), 1);
    let json_form = json!({"payload": parts[1], "protected": parts[0], "signature": parts[2]});
    let bomb = "[".repeat(200);
    let rows: Vec<Row> = vec![
        ("C01", "JSON serialisation", json_form.to_string(), "token_malformed"),
        ("C02", "five parts, as encrypted", format!("{good}.AA.AA"), "token_malformed"),
        ("C03", "four parts", format!("{good}.AA"), "token_malformed"),
        ("C04", "empty", String::new(), "token_malformed"),
        ("C05", "two dots", "..".to_owned(), "token_malformed"),
        ("C06", "padding", format!("{}=.{}.{}", parts[0], parts[1], parts[2]), "token_malformed"),
        ("C07", "white space before", format!(" {good}"), "token_malformed"),
        ("C08", "line break after", format!("{good}\n"), "token_malformed"),
        (
            "C09",
            "NUL inside",
            format!("{}\0.{}.{}", parts[0], parts[1], parts[2]),
            "token_malformed",
        ),
        (
            "C10",
            "plain base64 alphabet",
            format!("{}+/.{}.{}", parts[0], parts[1], parts[2]),
            "token_malformed",
        ),
        ("C11", "two tokens joined by a comma", format!("{good},{good}"), "token_malformed"),
        ("C12", "with its scheme", format!("Bearer {good}"), "token_malformed"),
        ("C13", "over-long", "A".repeat(20_000), "token_too_large"),
        (
            "C14",
            "header member twice",
            raw(&header.replacen('{', r#"{"alg":"none","#, 1), text.as_bytes()),
            "token_malformed",
        ),
        (
            "C15",
            "kid twice",
            raw(&header.replacen('{', r#"{"kid":"x","#, 1), text.as_bytes()),
            "token_malformed",
        ),
        (
            "C16",
            "header member twice by escape",
            raw(&header.replacen('{', r#"{"\u0061lg":"none","#, 1), text.as_bytes()),
            "token_malformed",
        ),
        (
            "C17",
            "claim twice",
            raw(&header, inside(r#""aud":"https://evil.example""#).as_bytes()),
            "token_malformed",
        ),
        (
            "C18",
            "claim twice, deeper",
            raw(&header, inside(r#""x":{"a":1,"a":2}"#).as_bytes()),
            "token_malformed",
        ),
        ("C19", "payload not JSON", raw(&header, b"hello"), "token_malformed"),
        ("C20", "payload an array", raw(&header, b"[]"), "token_malformed"),
        ("C21", "payload not UTF-8", raw(&header, b"{\"sub\":\"\xff\xfe\"}"), "token_malformed"),
        ("C22", "payload UTF-16", raw(&header, b"{\0\"\0"), "token_malformed"),
        (
            "C23",
            "payload with a byte order mark",
            raw(&header, format!("\u{feff}{text}").as_bytes()),
            "token_malformed",
        ),
        (
            "C24",
            "payload with a lone surrogate",
            raw(&header, inside(r#""x":"\ud800""#).as_bytes()),
            "token_malformed",
        ),
        (
            "C25",
            "deep nesting",
            raw(&header, inside(&format!(r#""x":{bomb}"#)).as_bytes()),
            "token_malformed",
        ),
        (
            "C26",
            "something after the JSON",
            raw(&header, format!("{text}{text}").as_bytes()),
            "token_malformed",
        ),
        ("C27", "header not an object", raw(r#""ES256""#, text.as_bytes()), "token_malformed"),
        (
            "C28",
            "a member its reader takes for a command",
            raw(&header, br#"{"$serde_json::private::RawValue":"{}"}"#),
            "token_malformed",
        ),
        (
            "C29",
            "a number beyond all numbers",
            raw(&header, inside(r#""x":1e999"#).as_bytes()),
            "token_malformed",
        ),
    ];
    check(&rows, |token| verify_access(token, &world.keys, &EXPECTED, NOW).map(drop));
}
