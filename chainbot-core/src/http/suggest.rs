//! "Did you mean": the known word nearest to a mistyped one.

/// The nearest of `known`, when it is near enough to be a typing mistake.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // A mistake in three letters is likely one; longer words may have two.
    let allowed = (word.chars().count() / 3).clamp(1, 2);
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What to say: the nearest word, or all of them.
pub fn hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => "nothing is taken here".to_owned(),
        None => format!("known are: {}", known.join(", ")),
    }
}

/// Insertions, deletions, replacements and swaps of neighbours between two words. Words over 64 characters are
/// no typing mistakes of ours, so the table stays small.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(65).collect(), b.chars().take(65).collect());
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_word_and_a_stranger_finds_none() {
        let known = ["inputs", "reason", "data"];
        assert_eq!(nearest("inptus", &known), Some("inputs"));
        assert_eq!(nearest("input", &known), Some("inputs"));
        assert_eq!(nearest("owner_id", &known), None);
        assert_eq!(hint("owner_id", &known), "known are: inputs, reason, data");
        assert_eq!(nearest(&"x".repeat(10_000), &known), None);
    }
}
