//! Reading an intent that a person wrote, with errors that name the field.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, bail};
use carnet_core::Intent;

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// The intent in `file`, or on standard input where it is `-`.
pub(crate) fn read(file: &Path) -> anyhow::Result<Intent> {
    let text = if file == Path::new("-") {
        text_of(std::io::stdin()).context("the intent on standard input")?
    } else {
        let opened = std::fs::File::open(file);
        let opened = opened.with_context(|| format!("the intent {}", file.display()))?;
        text_of(opened).with_context(|| format!("the intent {}", file.display()))?
    };
    parse(&text).with_context(|| format!("the intent {}", file.display()))
}

fn text_of(from: impl std::io::Read) -> anyhow::Result<String> {
    let mut text = String::new();
    from.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        bail!("it is longer than {FILE_BYTES_MAX} bytes");
    }
    Ok(text)
}

/// An intent in JSON is one object; nothing in TOML begins with a brace.
fn parse(text: &str) -> anyhow::Result<Intent> {
    match text.trim_start().starts_with('{') {
        true => Ok(Intent::from_json(text.as_bytes())?),
        false => parse_toml(text),
    }
}

fn parse_toml(text: &str) -> anyhow::Result<Intent> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| {
            text.get(..span.start).map_or(0, |before| before.matches('\n').count()) + 1
        });
        match line {
            // An error about a field says where by itself; the span is then the whole file.
            Some(line) if error.span() != Some(0..text.len()) => {
                anyhow::anyhow!("line {line}: {}", error.message())
            }
            _ => anyhow::anyhow!("{}", error.message()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_in_json_is_the_same_intent() {
        let toml = "purpose = \"p\"\n[[allow]]\naction = \"desk.tool.x\"\npath = \"read\"\n";
        let json = "\n{\"purpose\": \"p\", \"allow\": [{\"action\": \"desk.tool.x\", \"path\": \"read\"}]}";
        assert_eq!(parse(json).unwrap(), parse(toml).unwrap());
        let twice = "{\"purpose\": \"p\", \"purpose\": \"q\", \"allow\": []}";
        assert!(parse(twice).unwrap_err().to_string().contains("purpose"));
    }

    #[test]
    fn an_error_names_the_field() {
        let text = "purpose = \"p\"\n[[allow]]\naction = \"desk.tool.x\"\npath = \"write\"\n\
                    where.amount = { atmost = 1 }\n";
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains("allow[0].where.amount"), "{error}");
        assert!(error.contains("at_most"), "{error}");
    }

    #[test]
    fn an_error_of_form_names_the_line() {
        let error = parse("purpose = \"p\"\nallow = [\n").unwrap_err().to_string();
        assert!(error.starts_with("line "), "{error}");
    }
}
