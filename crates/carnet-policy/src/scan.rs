//! Where each statement of a file begins, and bounds on it before a parser recurses into it.
//!
//! This is not a parser: it knows strings, comments, brackets and `;`, no more. Cedar's own parser
//! says what a statement means; if the two ever count differently, the file is refused.

/// The longest statement.
const STATEMENT_BYTES_MAX: usize = 16 * 1024;
/// The deepest nesting of brackets and `if`s in a statement. Parsing and evaluating recurse.
const NESTING_MAX: usize = 32;
/// The most operators in a statement. A chain of operators is a tree as deep as it is long.
const OPERATORS_MAX: usize = 512;

/// One statement: the bytes from its first token to its `;`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Why a file is refused before it is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScanError {
    pub(crate) at: usize,
    pub(crate) bound: Bound,
}

/// The bound that a statement breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Bytes,
    Nesting,
    Operators,
}

impl Bound {
    /// What is wrong, in words.
    pub(crate) fn what(self) -> String {
        match self {
            Self::Bytes => format!("the policy is longer than {STATEMENT_BYTES_MAX} bytes"),
            Self::Nesting => format!("the policy nests brackets deeper than {NESTING_MAX}"),
            Self::Operators => format!("the policy has more than {OPERATORS_MAX} operators"),
        }
    }
}

/// The statements of `text` in order.
pub(crate) fn statements(text: &str) -> Result<Vec<Statement>, ScanError> {
    let mut scanner = Scanner::default();
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'/' if bytes.peek().is_some_and(|(_, b)| *b == b'/') => {
                while bytes.next_if(|(_, b)| *b != b'\n').is_some() {}
                scanner.end_word();
            }
            b'"' => {
                scanner.end_word();
                scanner.token(at)?;
                while let Some((_, inner)) = bytes.next() {
                    match inner {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => scanner.byte(at, byte)?,
        }
    }
    scanner.finish(text.len())
}

#[derive(Default)]
struct Scanner {
    found: Vec<Statement>,
    start: Option<usize>,
    depth: usize,
    ifs: usize,
    operators: usize,
    word: Vec<u8>,
}

impl Scanner {
    fn byte(&mut self, at: usize, byte: u8) -> Result<(), ScanError> {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            // Only `if` matters; longer words need no more of themselves kept than that.
            if self.word.len() < 3 {
                self.word.push(byte);
            }
            return self.token(at);
        }
        self.end_word();
        if !byte.is_ascii_whitespace() {
            self.token(at)?;
        }
        match byte {
            b'(' | b'[' | b'{' => self.depth += 1,
            b')' | b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            b'&' | b'|' | b'.' | b'+' | b'-' | b'*' | b'!' | b'<' | b'>' | b'=' => {
                self.operators += 1;
            }
            b';' if self.depth == 0 => self.close(at + 1),
            _ => {}
        }
        let broken = if self.depth + self.ifs > NESTING_MAX {
            Bound::Nesting
        } else if self.operators > OPERATORS_MAX {
            Bound::Operators
        } else {
            return Ok(());
        };
        Err(ScanError { at, bound: broken })
    }

    fn end_word(&mut self) {
        if self.word == b"if" {
            self.ifs += 1;
        }
        self.word.clear();
    }

    /// Notes that something that counts is at `at`.
    fn token(&mut self, at: usize) -> Result<(), ScanError> {
        let start = *self.start.get_or_insert(at);
        if at.saturating_sub(start) > STATEMENT_BYTES_MAX {
            return Err(ScanError { at: start, bound: Bound::Bytes });
        }
        Ok(())
    }

    fn close(&mut self, end: usize) {
        if let Some(start) = self.start.take() {
            self.found.push(Statement { start, end });
        }
        self.ifs = 0;
        self.operators = 0;
    }

    fn finish(mut self, end: usize) -> Result<Vec<Statement>, ScanError> {
        // What is left has no `;`: the parser says so, this only keeps its place.
        if let Some(start) = self.start
            && end.saturating_sub(start) > STATEMENT_BYTES_MAX
        {
            return Err(ScanError { at: start, bound: Bound::Bytes });
        }
        self.close(end);
        Ok(self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(text: &str) -> Vec<&str> {
        statements(text).unwrap().iter().map(|s| &text[s.start..s.end]).collect()
    }

    #[test]
    fn statements_end_at_semicolons_outside_strings_comments_and_brackets() {
        let text = "// a; b\n@id(\"x;\\\";\") permit(principal); // c;\n\nforbid(a);// d";
        assert_eq!(starts(text), ["@id(\"x;\\\";\") permit(principal);", "forbid(a);"]);
        assert!(starts("// only a comment").is_empty());
        assert_eq!(starts("permit(a)"), ["permit(a)"]);
    }

    #[test]
    fn nesting_length_and_chains_are_bounded() {
        let bound = |text: &str| statements(text).unwrap_err().bound;
        assert_eq!(bound(&"(".repeat(NESTING_MAX + 1)), Bound::Nesting);
        assert_eq!(bound(&"if true then true else ".repeat(NESTING_MAX + 1)), Bound::Nesting);
        assert_eq!(bound(&"a.".repeat(OPERATORS_MAX + 1)), Bound::Operators);
        assert_eq!(bound(&"a ".repeat(STATEMENT_BYTES_MAX)), Bound::Bytes);
        assert_eq!(bound(&format!("\"{}\"", "a".repeat(STATEMENT_BYTES_MAX))), Bound::Bytes);
        // A new statement starts counting anew.
        assert_eq!(starts(&"a.b;".repeat(OPERATORS_MAX + 1)).len(), OPERATORS_MAX + 1);
    }
}
