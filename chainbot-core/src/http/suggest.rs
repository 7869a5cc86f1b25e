//! "Did you mean": what an answer says about a word that is not known.

use crate::error::similar;

/// What to say: the nearest word, or all of them.
pub fn hint(word: &str, known: &[&str]) -> String {
    match similar(word, known.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => "nothing is taken here".to_owned(),
        None => format!("known are: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_word_and_a_stranger_finds_none() {
        let known = ["inputs", "reason", "data"];
        assert_eq!(hint("inptus", &known), "did you mean `inputs`?");
        assert_eq!(hint("input", &known), "did you mean `inputs`?");
        assert_eq!(hint("owner_id", &known), "known are: inputs, reason, data");
        assert_eq!(hint("x", &[]), "nothing is taken here");
    }
}
