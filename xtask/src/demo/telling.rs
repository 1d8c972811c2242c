//! How the story reads in a terminal.

use std::io::IsTerminal as _;

fn paint(code: &str, text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stdout().is_terminal();
    match plain {
        true => text.to_owned(),
        false => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
    }
}

/// A new part of the story.
pub(super) fn part(number: usize, title: &str) {
    println!("\n{}", paint("1", &format!("{number}. {title}")));
}

/// What somebody types.
pub(super) fn typed(who: &str, command: &str) {
    println!("   {} {command}", paint("36", &format!("{who:>8} $")));
}

/// What the agent does.
pub(super) fn does(what: &str) {
    println!("   {} {what}", paint("35", "   agent →"));
}

/// What was permitted, refused or asked, and what it means.
pub(super) fn permitted(what: &str) {
    println!("            {} {what}", paint("32", "permit"));
}

pub(super) fn refused(what: &str) {
    println!("            {} {what}", paint("31", "deny  "));
}

pub(super) fn asked(what: &str) {
    println!("            {} {what}", paint("33", "ask   "));
}

/// A line of explanation.
pub(super) fn note(text: &str) {
    println!("            {text}");
}
