//! What a command prints: tables and lines for people, one JSON document for programs.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use clap::ValueEnum;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document, for programs.
    Json,
}

/// What a word means, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Waiting,
    Bad,
    Heading,
}

/// Where and how a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    is_terminal: bool,
    has_colours: bool,
}

impl Output {
    /// To standard output; in colour on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn new(format: Format) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let has_colours = is_terminal && !no_color && format == Format::Text;
        Self { format, is_terminal, has_colours }
    }

    /// For people, without a terminal.
    pub(crate) const fn plain() -> Self {
        Self { format: Format::Text, is_terminal: false, has_colours: false }
    }

    /// Whether programs read it.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Prints `value` as JSON, or what `text` makes of it.
    pub(crate) fn print<T: Serialize + ?Sized>(
        self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Text => write_out(text().trim_end_matches('\n')),
            Format::Json => write_out(&serde_json::to_string_pretty(value)?),
        }
    }

    /// Prints one of many documents, a line each: only what follows something prints these.
    pub(crate) fn print_line<T: Serialize + ?Sized>(
        self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Text => write_out(text().trim_end_matches('\n')),
            Format::Json => write_out(&serde_json::to_string(value)?),
        }
    }

    /// Prints `text` for people; programs are told with the one document at the end.
    pub(crate) fn say(self, text: &str) -> anyhow::Result<()> {
        match self.format {
            Format::Text => write_out(text.trim_end_matches('\n')),
            Format::Json => Ok(()),
        }
    }

    /// `text` in the colour of `tone`.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Waiting => "33",
            Tone::Bad => "31",
            Tone::Heading => "1",
        };
        if self.has_colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// `text` as a cell of a table, in the colour of `tone`.
    pub(crate) fn cell(self, tone: Tone, text: impl ToString) -> Cell {
        let cell = Cell::new(text);
        match tone {
            _ if !self.has_colours => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Waiting => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Heading => cell.add_attribute(Attribute::Bold),
        }
    }

    /// A table of columns. Cells must already be fit to be looked at.
    pub(crate) fn table<C: Into<Cell>>(self, head: &[&str], rows: Vec<Vec<C>>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if self.is_terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        let bold = |text: &&str| {
            let cell = Cell::new(text);
            if self.has_colours { cell.add_attribute(Attribute::Bold) } else { cell }
        };
        table.set_header(head.iter().map(bold));
        for row in rows {
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let lines = table.to_string();
        lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}

/// Lines of `name  value`, the values in one column.
pub(crate) fn fields(indent: usize, fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in fields {
        let margin = " ".repeat(indent);
        text.push_str(format!("{margin}{name:width$}  {value}").trim_end());
        text.push('\n');
    }
    text
}

/// Writes a line. A reader that went away is no error: `carnet … | head` ends quietly.
fn write_out(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Output = Output::plain();

    #[test]
    fn a_table_has_aligned_columns_and_no_trailing_blanks() {
        let rows = vec![vec!["a".to_owned(), "b".to_owned()], vec!["long".into(), String::new()]];
        let table = PLAIN.table(&["name", "more"], rows);
        assert_eq!(table, "name  more\na     b\nlong");
    }

    #[test]
    fn colours_are_left_out_where_nobody_sees_them() {
        assert_eq!(PLAIN.paint(Tone::Bad, "deny"), "deny");
        let seen = Output { has_colours: true, ..PLAIN };
        assert_eq!(seen.paint(Tone::Bad, "deny"), "\u{1b}[31mdeny\u{1b}[0m");
    }

    #[test]
    fn fields_line_up() {
        let text = fields(2, &[("id", "task_1".into()), ("agent", "a".into())]);
        assert_eq!(text, "  id     task_1\n  agent  a\n");
    }
}
