//! "Did you mean": the nearest known word by edit distance.

/// Words longer than this are not compared: a suggestion is a courtesy, not work.
const WORD_BYTES_MAX: usize = 128;

/// The known word nearest to `word`, if it is near enough to be a slip of the hand.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let far = (word.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= far)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean …?` for the nearest known word.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, known).map(|known| format!("did you mean `{known}`?"))
}

/// Insertions, deletions and changes that turn `one` into `two` (Levenshtein), ignoring case.
fn distance(one: &str, two: &str) -> usize {
    let two: Vec<char> = two.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (i, a) in one.chars().flat_map(char::to_lowercase).enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (b, cell) in two.iter().zip(row.iter_mut().skip(1)) {
            let change = diagonal + usize::from(a != *b);
            diagonal = *cell;
            left = change.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_is_that_of_levenshtein() {
        for (one, two, expected) in
            [("", "", 0), ("abc", "", 3), ("", "abc", 3), ("kitten", "sitting", 3), ("A", "a", 0)]
        {
            assert_eq!(distance(one, two), expected, "{one} {two}");
        }
    }

    #[test]
    fn a_slip_is_corrected_and_another_word_is_not() {
        let known = ["approvers", "threshold", "timeout_s"];
        assert_eq!(nearest("aprovers", known), Some("approvers"));
        assert_eq!(nearest("timeouts", known), Some("timeout_s"));
        assert_eq!(nearest("severity", known), None);
    }
}
