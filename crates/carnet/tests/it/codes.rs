//! Exit codes, and what a script reads when something fails.

use crate::run::{carnet, initialised};

#[test]
fn help_and_version_are_no_errors() {
    let dir = tempfile::tempdir().unwrap();
    let ran = carnet(dir.path(), &["--help"]).ended(0);
    for word in ["Examples:", "Exit codes:", "CARNET_CONFIG", "NO_COLOR"] {
        assert!(ran.out.contains(word), "{word}: {ran:?}");
    }
    carnet(dir.path(), &["--version"]).ended(0);
    carnet(dir.path(), &["resource", "review", "--help"]).ended(0);
}

#[test]
fn wrong_words_are_a_matter_of_usage() {
    let dir = tempfile::tempdir().unwrap();
    for words in [
        &["frobnicate"] as &[&str],
        &[],
        &["agent", "add", "Not A Name", "--owner", "user:a", "--uid", "1"],
        &["lock", "everyone", "--reason", "x"],
        &["task", "close", "grant_1"],
        &["resource", "add", "desk", "--url", "http://x/", "--read-credential", "s3cr3t"],
    ] {
        carnet(dir.path(), words).ended(2);
    }
}

#[test]
fn usage_that_only_the_command_can_tell_has_the_same_code() {
    let dir = initialised();
    let words = ["--config", "c", "resource", "add", "desk", "--url", "ftp://x/"];
    let ran = carnet(dir.path(), &words).ended(2);
    assert!(ran.err.contains("http://"), "{ran:?}");
}

#[test]
fn a_carnet_that_does_not_run_is_named_with_what_to_do() {
    let dir = initialised();
    let ran = carnet(dir.path(), &["--config", "c", "status"]).ended(4);
    assert!(ran.err.contains("operator.sock") && ran.err.contains("carnet up"), "{ran:?}");
    assert!(ran.out.is_empty());
    let ran = carnet(dir.path(), &["--config", "c", "--output", "json", "task", "list"]).ended(4);
    assert_eq!(ran.json()["error"]["code"], "unreachable");
}

#[test]
fn a_verifier_called_the_wrong_way_does_not_say_incomplete() {
    let dir = initialised();
    carnet(dir.path(), &["ledger", "verify", "--no-such-option"]).ended(3);
    carnet(dir.path(), &["--config", "c", "ledger", "verify"]).ended(3);
    carnet(dir.path(), &["--config", "nowhere", "ledger", "verify"]).ended(3);
    let ran = carnet(dir.path(), &["ledger", "verify", ".", "--key", "no key"]).ended(3);
    assert!(ran.err.contains("--key"), "{ran:?}");
    carnet(dir.path(), &["ledger", "tail", "--no-such-option"]).ended(2);
}

#[test]
fn an_intent_that_is_wrong_is_refused_with_the_field_before_anything_is_sent() {
    let dir = initialised();
    let text = "purpose = \"p\"\n\n[[allow]]\naction = \"desk.tool.x\"\npath = \"raed\"\n";
    std::fs::write(dir.path().join("intent.toml"), text).unwrap();
    let words = ["--config", "c", "task", "open", "--agent", "a", "--intent", "intent.toml"];
    let ran = carnet(dir.path(), &words).ended(1);
    assert!(ran.err.contains("intent.toml: allow[0].path"), "{ran:?}");
}

#[test]
fn a_program_reads_one_document_of_wrong_words_too() {
    let dir = tempfile::tempdir().unwrap();
    for words in [&["frobnicate", "--output", "json"] as &[&str], &["--output=json", "task", "x"]] {
        assert_eq!(carnet(dir.path(), words).ended(2).json()["error"]["code"], "usage");
    }
}

#[test]
fn an_agent_that_reaches_no_carnet_is_told_by_the_code_too() {
    let dir = tempfile::tempdir().unwrap();
    let words = [
        "token",
        "--resource",
        "desk",
        "--path",
        "read",
        "--issuer",
        "http://127.0.0.1:1",
        "--socket",
        "/nowhere/agent.sock",
    ];
    carnet(dir.path(), &words).ended(4);
}
