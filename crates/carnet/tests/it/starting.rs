//! What works before anything runs: `init`, `config check`, `policy check`.

use std::fs;

use crate::golden::assert_golden;
use crate::run::{carnet, initialised};

/// The name and uid of whoever runs the tests are theirs.
fn without_founder(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(' ') {
        Some(("name", _)) => "name = \"FOUNDER\"".to_owned(),
        Some(("uid", _)) => "uid = UID".to_owned(),
        Some(("You", _)) => "You are `FOUNDER`, the first operator. Next:".to_owned(),
        _ => line.trim_end().to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn init_says_what_it_made_and_what_comes_next() {
    let dir = tempfile::tempdir().unwrap();
    let ran = carnet(dir.path(), &["init", "c"]).ended(0);
    assert_golden("init.txt", &without_founder(&ran.out));
    let config = fs::read_to_string(dir.path().join("c/carnet.toml")).unwrap();
    assert_golden("carnet.toml", &without_founder(&config));
}

#[test]
fn what_init_makes_passes_every_check() {
    let dir = initialised();
    let ran =
        carnet(dir.path(), &["config", "check", "--config", "c", "--output", "json"]).ended(0);
    assert_eq!(ran.json()["valid"], true);
    assert_eq!(ran.json()["same_user"], false);
    let ran = carnet(dir.path(), &["policy", "check", "c/policy", "--output", "json"]).ended(0);
    assert_eq!(ran.json()["valid"], true);
    let schema = fs::read_to_string(dir.path().join("c/carnet.schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert!(schema["properties"]["listen"].is_object(), "{schema}");
}

#[test]
fn same_user_is_said_in_the_file_and_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let ran = carnet(dir.path(), &["init", "c", "--same-user"]).ended(0);
    assert!(ran.out.contains("could act as you"), "{ran:?}");
    let ran = carnet(dir.path(), &["--config", "c", "config", "check"]).ended(0);
    assert!(ran.out.contains("trust.same_user"), "{ran:?}");
}

#[test]
fn init_overwrites_nothing() {
    let dir = initialised();
    let before = fs::read(dir.path().join("c/carnet.toml")).unwrap();
    let ran = carnet(dir.path(), &["init", "c"]).ended(1);
    assert!(ran.err.contains("nothing is overwritten"), "{ran:?}");
    assert_eq!(fs::read(dir.path().join("c/carnet.toml")).unwrap(), before);
}

#[test]
fn a_configuration_that_is_wrong_is_refused_with_the_key() {
    let dir = initialised();
    let file = dir.path().join("c/carnet.toml");
    let text = fs::read_to_string(&file).unwrap().replace("domain =", "domian =");
    fs::write(&file, text).unwrap();
    let ran = carnet(dir.path(), &["config", "check", "--config", "c"]).ended(1);
    assert!(ran.err.contains("domian") && ran.out.is_empty(), "{ran:?}");
}

#[test]
fn the_configuration_is_found_by_option_environment_and_directory() {
    let dir = initialised();
    carnet(&dir.path().join("c"), &["config", "check"]).ended(0);
    let ran = carnet(dir.path(), &["config", "check"]).ended(1);
    assert!(ran.err.contains("carnet init"), "{ran:?}");
    let with = std::process::Command::new(env!("CARGO_BIN_EXE_carnet"))
        .args(["config", "check"])
        .env("CARNET_CONFIG", dir.path().join("c"))
        .output()
        .unwrap();
    assert!(with.status.success());
}

#[test]
fn what_is_wrong_with_a_policy_set_is_told_with_place_and_mend() {
    let dir = tempfile::tempdir().unwrap();
    let permit = dir.path().join("policy/permit");
    fs::create_dir_all(&permit).unwrap();
    let wrong = "permit (principal, action, resource);\n\n\
                 @id(\"reads\")\n@obligaton(\"redact=x\")\n\
                 permit (\n  principal is Carnet::Agnet,\n  action in Carnet::Action::\"read\",\n  \
                 resource is Carnet::Operation\n);\n";
    fs::write(permit.join("wrong.cedar"), wrong).unwrap();
    fs::write(dir.path().join("policy/README.md"), "x").unwrap();
    let ran = carnet(dir.path(), &["policy", "check", "policy"]).ended(1);
    assert_golden("policy-check.txt", &ran.out);
    let ran = carnet(dir.path(), &["policy", "check", "policy", "--output", "json"]).ended(1);
    assert_eq!(ran.json()["valid"], false);
    assert!(ran.json()["errors"].as_array().unwrap().len() >= 3, "{ran:?}");
}

#[test]
fn a_policy_folder_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let ran = carnet(dir.path(), &["policy", "check", "nowhere"]).ended(1);
    assert!(ran.err.contains("nowhere"), "{ran:?}");
}

#[test]
fn a_configuration_nothing_could_use_is_refused_or_warned_of() {
    let dir = initialised();
    let file = dir.path().join("c/carnet.toml");
    let text = fs::read_to_string(&file).unwrap();
    let tls = "\n[listen.tls]\ncertificate = \"none.pem\"\nkey = \"none.key\"\n";
    fs::write(&file, format!("{text}{tls}")).unwrap();
    let ran = carnet(dir.path(), &["--config", "c", "config", "check"]).ended(1);
    assert!(ran.err.contains("none.pem"), "{ran:?}");
    let (without, _) = text.split_once("[[user]]").unwrap();
    fs::write(&file, without).unwrap();
    let ran = carnet(dir.path(), &["--config", "c", "config", "check"]).ended(0);
    assert!(ran.out.contains("warning: there are no operators"), "{ran:?}");
    let ran =
        carnet(dir.path(), &["--config", "c", "--output", "json", "config", "check"]).ended(0);
    assert_eq!(ran.json()["warnings"].as_array().unwrap().len(), 1);
}
