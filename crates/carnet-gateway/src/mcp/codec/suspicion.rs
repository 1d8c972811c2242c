//! What in a definition a reviewer should look at twice. These are hints for a person, shown when
//! a definition is quarantined; nothing is permitted for the lack of one.

use std::fmt;

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use super::json::quoted;
use super::mirror::{MirrorError, mirrored};

/// The most suspicions of one definition.
const SUSPICIONS_MAX: usize = 64;
/// How deep a definition is looked into.
const DEPTH_MAX: usize = 64;
/// A description longer than this hides what it says.
const DESCRIPTION_CHARS_MAX: usize = 4096;

/// Phrases that speak to a model, not to a reader of documentation.
const INSTRUCTIONS: &[&str] = &[
    "ignore previous",
    "ignore all previous",
    "ignore the above",
    "disregard previous",
    "do not tell the user",
    "don't tell the user",
    "do not mention",
    "without telling",
    "<important>",
    "<system>",
    "system prompt",
    "you must always",
    "before using any other tool",
    "before calling any other tool",
    "instead of calling",
    "never reveal",
];

/// Letters of other scripts that look like Latin ones.
const LOOKALIKES: &[(char, char)] = &[
    ('а', 'a'),
    ('в', 'b'),
    ('с', 'c'),
    ('ԁ', 'd'),
    ('е', 'e'),
    ('һ', 'h'),
    ('і', 'i'),
    ('ї', 'i'),
    ('ј', 'j'),
    ('к', 'k'),
    ('ӏ', 'l'),
    ('м', 'm'),
    ('н', 'h'),
    ('о', 'o'),
    ('р', 'p'),
    ('ԛ', 'q'),
    ('ѕ', 's'),
    ('т', 't'),
    ('у', 'y'),
    ('ѵ', 'v'),
    ('ԝ', 'w'),
    ('х', 'x'),
    ('α', 'a'),
    ('β', 'b'),
    ('ε', 'e'),
    ('η', 'n'),
    ('ι', 'i'),
    ('κ', 'k'),
    ('ν', 'v'),
    ('ο', 'o'),
    ('ρ', 'p'),
    ('τ', 't'),
    ('υ', 'u'),
    ('χ', 'x'),
    ('ω', 'w'),
    ('ɡ', 'g'),
    ('ı', 'i'),
    ('ո', 'n'),
    ('ս', 'u'),
    ('օ', 'o'),
];

/// A tool that is already registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour<'a> {
    /// The resource that offers it.
    pub server: &'a str,
    /// Its name.
    pub tool: &'a str,
}

/// A sort of character that does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// Unicode tags: a whole text that no screen shows.
    Tag,
    /// Of no width.
    ZeroWidth,
    /// It turns the direction of what follows.
    Direction,
    /// It selects a variant of what precedes it, and can carry bytes.
    Variation,
    /// A control character.
    Control,
    /// It means what a font makes of it.
    PrivateUse,
}

/// One thing to look at twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspicion {
    /// Characters that do not show.
    HiddenCharacters {
        /// Where: a JSON pointer.
        at: String,
        /// Which sort.
        sort: Hidden,
        /// How many.
        count: usize,
    },
    /// The name cannot be an action's name, so the tool cannot be granted.
    NameUnusable,
    /// Another server offers a tool of the same name.
    SameName {
        /// The other server.
        server: String,
    },
    /// Its name looks like another tool's.
    Lookalike {
        /// The other server.
        server: String,
        /// The other tool.
        tool: String,
    },
    /// It speaks of another server's tool.
    NamesNeighbour {
        /// Where.
        at: String,
        /// The other server.
        server: String,
        /// The other tool.
        tool: String,
    },
    /// It speaks to the model.
    Instruction {
        /// Where.
        at: String,
        /// The phrase.
        phrase: &'static str,
    },
    /// A text too long to be read by a reviewer.
    LongText {
        /// Where.
        at: String,
    },
    /// Its header annotations make the definition invalid.
    Header(MirrorError),
}

/// What is suspicious in `tool`, which `server` offers beside `neighbours`.
pub fn suspicions(server: &str, tool: &Value, neighbours: &[Neighbour<'_>]) -> Vec<Suspicion> {
    let mut found = Found { server, neighbours, suspicions: Vec::new() };
    found.name(tool.get("name").and_then(Value::as_str).unwrap_or(""));
    found.walk("", tool, 0);
    if let Some(Err(error)) = tool.get("inputSchema").map(mirrored) {
        found.push(Suspicion::Header(error));
    }
    found.suspicions
}

struct Found<'a> {
    server: &'a str,
    neighbours: &'a [Neighbour<'a>],
    suspicions: Vec<Suspicion>,
}

impl Found<'_> {
    fn push(&mut self, suspicion: Suspicion) {
        if self.suspicions.len() < SUSPICIONS_MAX {
            self.suspicions.push(suspicion);
        }
    }

    fn name(&mut self, name: &str) {
        let usable = (1..=128).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b));
        if !usable {
            self.push(Suspicion::NameUnusable);
        }
        let skeleton = skeleton(name);
        for neighbour in self.neighbours {
            let elsewhere = neighbour.server != self.server;
            if neighbour.tool == name {
                if elsewhere {
                    self.push(Suspicion::SameName { server: neighbour.server.to_owned() });
                }
            } else if self::skeleton(neighbour.tool) == skeleton {
                let (server, tool) = (neighbour.server.to_owned(), neighbour.tool.to_owned());
                self.push(Suspicion::Lookalike { server, tool });
            }
        }
    }

    fn walk(&mut self, at: &str, value: &Value, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        match value {
            Value::String(text) => self.text(at, text),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(&format!("{at}/{index}"), item, depth + 1);
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                    self.hidden(&at, name);
                    self.walk(&at, member, depth + 1);
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, at: &str, text: &str) {
        self.hidden(at, text);
        if text.chars().nth(DESCRIPTION_CHARS_MAX).is_some() {
            self.push(Suspicion::LongText { at: at.to_owned() });
        }
        // Hidden characters must not hide a phrase from the search either.
        let plain: String = text.chars().filter(|c| hidden(*c).is_none()).nfkc().collect();
        let plain = plain.to_lowercase();
        for phrase in INSTRUCTIONS {
            if plain.contains(phrase) {
                self.push(Suspicion::Instruction { at: at.to_owned(), phrase });
            }
        }
        for neighbour in self.neighbours {
            // The name itself was looked at as a name.
            let named = at != "/name"
                && neighbour.server != self.server
                && is_distinctive(neighbour.tool)
                && has_word(&plain, &neighbour.tool.to_lowercase());
            if named {
                let (server, tool) = (neighbour.server.to_owned(), neighbour.tool.to_owned());
                self.push(Suspicion::NamesNeighbour { at: at.to_owned(), server, tool });
            }
        }
    }

    fn hidden(&mut self, at: &str, text: &str) {
        let mut counts: Vec<(Hidden, usize)> = Vec::new();
        for sort in text.chars().filter_map(hidden) {
            match counts.iter_mut().find(|(counted, _)| *counted == sort) {
                Some((_, count)) => *count += 1,
                None => counts.push((sort, 1)),
            }
        }
        for (sort, count) in counts {
            self.push(Suspicion::HiddenCharacters { at: at.to_owned(), sort, count });
        }
    }
}

/// What sort of hidden character `c` is. The selector that makes a picture of a symbol is not one.
fn hidden(c: char) -> Option<Hidden> {
    match c {
        '\u{E0000}'..='\u{E007F}' => Some(Hidden::Tag),
        '\u{200B}'..='\u{200D}'
        | '\u{2060}'..='\u{2064}'
        | '\u{FEFF}'
        | '\u{180E}'
        | '\u{00AD}'
        | '\u{034F}'
        | '\u{115F}'
        | '\u{1160}'
        | '\u{3164}'
        | '\u{FFA0}' => Some(Hidden::ZeroWidth),
        '\u{202A}'..='\u{202E}'
        | '\u{2066}'..='\u{2069}'
        | '\u{200E}'
        | '\u{200F}'
        | '\u{061C}' => Some(Hidden::Direction),
        '\u{FE00}'..='\u{FE0E}' | '\u{E0100}'..='\u{E01EF}' => Some(Hidden::Variation),
        '\n' | '\r' | '\t' => None,
        '\u{2028}' | '\u{2029}' => Some(Hidden::Control),
        '\u{E000}'..='\u{F8FF}' | '\u{F0000}'..='\u{10FFFF}' => Some(Hidden::PrivateUse),
        c if c.is_control() => Some(Hidden::Control),
        _ => None,
    }
}

/// What is left of a name when all that a glance takes for the same is made the same.
fn skeleton(name: &str) -> String {
    let plain: String = name
        .nfkd()
        .filter(|c| hidden(*c).is_none() && !('\u{300}'..='\u{36F}').contains(c))
        .map(|c| if matches!(c, 'I' | '1' | '|') { 'l' } else { c })
        .flat_map(char::to_lowercase)
        .map(|c| LOOKALIKES.iter().find(|(from, _)| *from == c).map_or(c, |(_, to)| *to))
        .map(|c| if c == '0' { 'o' } else { c })
        .filter(|c| c.is_alphanumeric())
        .collect();
    plain.replace("rn", "m").replace("vv", "w")
}

/// Whether a name is one a text would not hold by chance.
fn is_distinctive(name: &str) -> bool {
    let marked = name.chars().skip(1).any(|c| !c.is_ascii_lowercase());
    name.len() >= 4 && (marked || name.len() >= 12)
}

fn has_word(text: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(start, found)| {
        let before = text.get(..start).and_then(|before| before.chars().next_back());
        let after = text.get(start + found.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tag => "Unicode tag",
            Self::ZeroWidth => "zero-width",
            Self::Direction => "direction",
            Self::Variation => "variation selector",
            Self::Control => "control",
            Self::PrivateUse => "private-use",
        })
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HiddenCharacters { at, sort, count } => {
                write!(f, "{count} {sort} character(s) at `{}`", quoted(at))
            }
            Self::NameUnusable => f.write_str("its name cannot be part of an action's name"),
            Self::SameName { server } => write!(f, "`{server}` offers a tool of the same name"),
            Self::Lookalike { server, tool } => {
                write!(f, "its name looks like `{}` of `{server}`", quoted(tool))
            }
            Self::NamesNeighbour { at, server, tool } => {
                write!(f, "`{}` speaks of `{}` of `{server}`", quoted(at), quoted(tool))
            }
            Self::Instruction { at, phrase } => {
                write!(f, "`{}` speaks to the model: \"{phrase}\"", quoted(at))
            }
            Self::LongText { at } => write!(f, "`{}` is very long", quoted(at)),
            Self::Header(error) => write!(f, "{error}"),
        }
    }
}
