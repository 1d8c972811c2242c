//! The decisions of a review as they were typed: flags with patterns, where a later one wins.

use std::collections::BTreeMap;

use carnet_core::{ArgumentKind, Path, Reach};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::candidate::Candidate;
use crate::cli::exit;
use crate::cli::glob::Glob;

/// What one flag decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The path, or none: off every path.
    Path(Option<Path>),
    /// Whether it leaves the organisation.
    Reach(Reach),
    /// Whether it can be undone.
    Reversible(bool),
}

/// A flag, its pattern, and what it decides.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    flag: &'static str,
    pattern: Option<Glob>,
    rule: Rule,
}

/// How one argument of one tool is read.
#[derive(Debug, Clone)]
struct ArgumentRule {
    /// `TOOL.ARGUMENT`, where both may have dots.
    place: String,
    /// None takes a kind away: the argument is read by its JSON type.
    kind: Option<ArgumentKind>,
}

/// All decisions that were typed, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    decisions: Vec<Decision>,
    arguments: Vec<ArgumentRule>,
}

const FLAGS: [(&str, &str); 6] = [
    ("read", "Put the operations that match on the read path (repeatable; a later flag wins)"),
    ("write", "Put them on the write path (repeatable)"),
    ("admin", "Put them on the admin path (repeatable)"),
    ("off", "Take them off every path (repeatable)"),
    ("egress", "They carry what an agent chose out of the organisation (repeatable)"),
    ("inside", "They do not (repeatable)"),
];

impl Rules {
    /// Whether nothing was decided.
    pub(crate) fn is_empty(&self) -> bool {
        self.decisions.is_empty() && self.arguments.is_empty()
    }

    /// The path that was decided for `candidate`: outer none where nothing was.
    pub(crate) fn path(&self, candidate: &Candidate) -> Option<Option<Path>> {
        self.last(candidate, |rule| match rule {
            Rule::Path(path) => Some(*path),
            _ => None,
        })
    }

    /// Its reach, where one was decided.
    pub(crate) fn reach(&self, candidate: &Candidate) -> Option<Reach> {
        self.last(candidate, |rule| match rule {
            Rule::Reach(reach) => Some(*reach),
            _ => None,
        })
    }

    /// Whether it can be undone, where that was decided.
    pub(crate) fn reversible(&self, candidate: &Candidate) -> Option<bool> {
        self.last(candidate, |rule| match rule {
            Rule::Reversible(is) => Some(*is),
            _ => None,
        })
    }

    /// Whether anything that names `candidate` by a pattern was decided for it.
    pub(crate) fn names(&self, candidate: &Candidate) -> bool {
        let patterned = self.decisions.iter().filter(|decision| decision.pattern.is_some());
        patterned.into_iter().any(|decision| decision.matches(candidate))
            || self.arguments.iter().any(|rule| rule.argument_of(candidate).is_some())
    }

    fn last<T>(&self, candidate: &Candidate, of: impl Fn(&Rule) -> Option<T>) -> Option<T> {
        let fitting = self.decisions.iter().rev().filter(|decision| decision.matches(candidate));
        fitting.into_iter().find_map(|decision| of(&decision.rule))
    }

    /// Changes `kinds`, the arguments of `candidate`, as was decided.
    pub(crate) fn arguments(
        &self,
        candidate: &Candidate,
        others: &[Candidate],
        kinds: &mut BTreeMap<String, ArgumentKind>,
    ) {
        for rule in &self.arguments {
            let Some(argument) = rule.argument_of(candidate) else { continue };
            // `a.b.c` is of the tool `a.b` where there is one, and else of `a`.
            let longer = |other: &&Candidate| other.name.len() > candidate.name.len();
            if others.iter().filter(longer).any(|other| rule.argument_of(other).is_some()) {
                continue;
            }
            match rule.kind {
                Some(kind) => kinds.insert(argument.to_owned(), kind),
                None => kinds.remove(argument),
            };
        }
    }

    /// Refuses a flag that decides nothing: it is a slip.
    pub(crate) fn check(&self, candidates: &[Candidate]) -> anyhow::Result<()> {
        for decision in &self.decisions {
            if let Some(pattern) = &decision.pattern
                && !candidates.iter().any(|candidate| decision.matches(candidate))
            {
                return Err(exit::usage(format!(
                    "--{} '{pattern}' matches nothing that is offered",
                    decision.flag
                )));
            }
        }
        self.arguments.iter().try_for_each(|rule| rule.check(candidates))
    }
}

impl Decision {
    fn matches(&self, candidate: &Candidate) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| {
            pattern.matches(&candidate.name) || pattern.matches(&candidate.label())
        })
    }
}

impl ArgumentRule {
    fn argument_of(&self, candidate: &Candidate) -> Option<&str> {
        let argument = self.place.strip_prefix(&candidate.name)?.strip_prefix('.')?;
        (!argument.is_empty()).then_some(argument)
    }

    fn check(&self, candidates: &[Candidate]) -> anyhow::Result<()> {
        let place = &self.place;
        let fitting = candidates.iter().filter(|candidate| self.argument_of(candidate).is_some());
        let Some(tool) = fitting.into_iter().max_by_key(|candidate| candidate.name.len()) else {
            return Err(exit::usage(format!(
                "--argument `{place}`: nothing that is offered has this name; write TOOL.ARGUMENT=kind"
            )));
        };
        let argument = self.argument_of(tool).unwrap_or_default();
        let properties = tool.definition.pointer("/inputSchema/properties");
        match properties.and_then(|properties| properties.as_object()) {
            Some(properties) if !properties.contains_key(argument) => {
                let names: Vec<&str> = properties.keys().map(String::as_str).collect();
                Err(exit::usage(format!(
                    "--argument `{place}`: `{}` has no argument `{argument}`; it has {}",
                    tool.name,
                    names.join(", ")
                )))
            }
            _ => Ok(()),
        }
    }
}

fn parse(flag: &'static str, text: &str) -> Result<Decision, clap::Error> {
    let (pattern, rule) = match flag {
        "read" => (text, Rule::Path(Some(Path::Read))),
        "write" => (text, Rule::Path(Some(Path::Write))),
        "admin" => (text, Rule::Path(Some(Path::Admin))),
        "off" => (text, Rule::Path(None)),
        "egress" => (text, Rule::Reach(Reach::Egress)),
        "inside" => (text, Rule::Reach(Reach::Inside)),
        _ => {
            let (pattern, word) = text.rsplit_once('=').unwrap_or(("*", text));
            let reversible = match word {
                "reversible" => true,
                "irreversible" => false,
                _ => {
                    return Err(invalid(format!(
                        "--effect `{text}`: write reversible or irreversible, or GLOB=reversible"
                    )));
                }
            };
            let pattern = text.contains('=').then(|| Glob::new(pattern));
            return Ok(Decision { flag, pattern, rule: Rule::Reversible(reversible) });
        }
    };
    Ok(Decision { flag, pattern: Some(Glob::new(pattern)), rule })
}

fn parse_argument(text: &str) -> Result<ArgumentRule, clap::Error> {
    let form = "write TOOL.ARGUMENT=kind";
    let (place, word) =
        text.rsplit_once('=').ok_or_else(|| invalid(format!("--argument `{text}`: {form}")))?;
    let kind = kind(word).ok_or_else(|| {
        invalid(format!(
            "--argument `{text}`: `{word}` is no kind: text, number, email, url, file_path, sql, \
             code, or none"
        ))
    })?;
    Ok(ArgumentRule { place: place.to_owned(), kind })
}

fn kind(word: &str) -> Option<Option<ArgumentKind>> {
    match word {
        "none" => Some(None),
        "text" => Some(Some(ArgumentKind::Text)),
        "number" => Some(Some(ArgumentKind::Number)),
        "email" => Some(Some(ArgumentKind::Email)),
        "url" => Some(Some(ArgumentKind::Url)),
        "file_path" => Some(Some(ArgumentKind::FilePath)),
        "sql" => Some(Some(ArgumentKind::Sql)),
        "code" => Some(Some(ArgumentKind::Code)),
        _ => None,
    }
}

fn invalid(message: String) -> clap::Error {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, message + "\n")
}

impl FromArgMatches for Rules {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut rules = Self::default();
        rules.update_from_arg_matches(matches)?;
        Ok(rules)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let mut placed: Vec<(usize, Decision)> = Vec::new();
        for flag in FLAGS.iter().map(|(flag, _)| *flag).chain(["effect"]) {
            let values = matches.get_many::<String>(flag).into_iter().flatten();
            // The order over all flags is the order they were typed in.
            let indices = matches.indices_of(flag).into_iter().flatten();
            for (value, index) in values.zip(indices) {
                placed.push((index, parse(flag, value)?));
            }
        }
        placed.sort_by_key(|(index, _)| *index);
        self.decisions = placed.into_iter().map(|(_, decision)| decision).collect();
        let arguments = matches.get_many::<String>("argument").into_iter().flatten();
        self.arguments = arguments.map(|text| parse_argument(text)).collect::<Result<_, _>>()?;
        Ok(())
    }
}

impl Args for Rules {
    fn augment_args(command: Command) -> Command {
        let flag = |name: &'static str, value: &'static str, help: &'static str| {
            Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help(help)
        };
        let paths = FLAGS.map(|(name, help)| flag(name, "GLOB", help));
        command
            .args(paths)
            .arg(flag(
                "effect",
                "[GLOB=]EFFECT",
                "Whether they can be undone: reversible or irreversible (repeatable)",
            ))
            .arg(flag(
                "argument",
                "TOOL.ARG=KIND",
                "How an argument is read before it is compared: text, number, email, url, \
                 file_path, sql, code, or none (repeatable)",
            ))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
