//! “Did you mean”: the known word nearest to an unknown one.

/// The longest unknown word worth comparing.
const WORD_BYTES_MAX: usize = 32;

/// The known word that `unknown` is a likely misspelling of.
pub(super) fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    if unknown.len() > WORD_BYTES_MAX {
        return None;
    }
    let plain = |word: &str| word.replace(['_', '-', ' '], "").to_lowercase();
    let wanted = plain(unknown);
    let best = known.iter().map(|word| (distance(&wanted, &plain(word)), *word)).min()?;
    let limit = if wanted.len() < 4 { 1 } else { 2 };
    (best.0 <= limit).then_some(best.1)
}

/// The Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_finds_its_word_and_nonsense_finds_none() {
        let known = ["at_most", "one_of", "email"];
        assert_eq!(nearest("atmost", &known), Some("at_most"));
        assert_eq!(nearest("oneOf", &known), Some("one_of"));
        assert_eq!(nearest("emial", &known), Some("email"));
        assert_eq!(nearest("regex", &known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
