//! A file is read in one sitting.

use super::Finding;
use super::tree::File;

/// The most lines of a file, its tests not counted.
const LINES_MAX: usize = 600;
/// From here on a file is listed, so that it is split before it must be.
const LINES_LONG: usize = 500;

/// Every file that is too long; those that soon will be are shown.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && !file.is_test()) {
        let lines = lines_without_tests(&file.text);
        if lines > LINES_MAX {
            findings.push(format!(
                "{}: {lines} lines, the most is {LINES_MAX}: split it by noun",
                file.path
            ));
        } else if lines > LINES_LONG {
            println!("note: {}: {lines} lines, soon too long", file.path);
        }
    }
    findings
}

/// The lines up to the module of tests, which closes a file.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let is_tests = |pair: &[&str]| matches!(pair, ["#[cfg(test)]", module] if module.starts_with("mod ") && module.ends_with('{'));
    lines.windows(2).position(is_tests).unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(n: usize) -> String {
        "let a = 1;\n".repeat(n)
    }

    #[test]
    fn a_long_file_is_found_and_a_long_test_is_not() {
        assert_eq!(check(&[File::of("crates/a/src/b.rs", &lines(601))]).len(), 1);
        assert!(check(&[File::of("crates/a/src/b.rs", &lines(600))]).is_empty());
        assert!(check(&[File::of("crates/a/src/b/tests.rs", &lines(900))]).is_empty());
        assert!(check(&[File::of("crates/a/tests/it/main.rs", &lines(900))]).is_empty());
    }

    #[test]
    fn tests_at_the_end_of_a_file_do_not_count() {
        let text = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(590), lines(500));
        assert_eq!(lines_without_tests(&text), 590);
        let text = format!("#[cfg(test)]\nmod tests;\n{}", lines(700));
        assert_eq!(lines_without_tests(&text), 702);
    }
}
