//! What a client wants to hear: a bounded list of patterns, each from a place in the journal on.

use crate::error::code::live as code;
use crate::error::{Error, Result};
use crate::expr::topic::{is_pattern, matches};
use crate::id::Lsn;
use crate::limits::TOPICS_MAX;
use crate::topic::check_pattern;

use super::event::Event;

/// Patterns, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Topics(Vec<(String, Option<Lsn>)>);

impl Topics {
    /// Adds patterns; all of them or none. `from`: what came up to there is not wanted by them.
    pub fn add(&mut self, patterns: Vec<String>, from: Option<Lsn>) -> Result<()> {
        let refuse = |message: String| Error::new(&code::TOPIC, message);
        if patterns.is_empty() {
            return Err(refuse("`topics` is empty".to_owned()).help("name at least one, such as `run.*`"));
        }
        for pattern in &patterns {
            // A host's topics may hold more than ours do; what none of ours can match would only be waited for.
            let is_ours =
                || match is_pattern(pattern) {
                    true => Ok(()),
                    false => Err("no topic has other characters than letters, digits, `_`, `-`, `:` and `/`"
                        .to_owned()),
                };
            check_pattern(pattern).and_then(|()| is_ours()).map_err(|why| {
                let shown = crate::http::request::printable(pattern);
                refuse(format!("`{shown}`: {why}"))
                    .help("segments joined by dots; `*` is one segment, a last `#` the rest")
            })?;
        }
        let mut all = self.0.clone();
        all.retain(|(pattern, _)| !patterns.contains(pattern));
        for pattern in patterns {
            if !all.iter().any(|(other, _)| *other == pattern) {
                all.push((pattern, from));
            }
        }
        if all.len() > TOPICS_MAX {
            return Err(refuse(format!("that makes {} topics; {TOPICS_MAX} are the most", all.len()))
                .help("use wildcards, or unsubscribe from some"));
        }
        self.0 = all;
        Ok(())
    }

    /// Takes patterns out; one that is not there does not matter.
    pub fn remove(&mut self, patterns: &[String]) {
        self.0.retain(|(pattern, _)| !patterns.contains(pattern));
    }

    /// Whatever was wanted until here was told: a replay for others does not tell it again.
    pub fn had(&mut self, up_to: Lsn) {
        self.0.iter_mut().for_each(|(_, from)| *from = Some(from.map_or(up_to, |from| from.max(up_to))));
    }

    /// Whether an event is wanted.
    pub fn want(&self, event: &Event) -> bool {
        self.0.iter().any(|(pattern, from)| {
            let is_new = match (event.lsn, from) {
                (Some(lsn), Some(from)) => lsn > *from,
                _ => true,
            };
            is_new && matches(pattern, &event.topic)
        })
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(pattern, _)| pattern.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::time::Timestamp;

    fn event(topic: &str) -> Event {
        Event::signal(topic.to_owned(), "x", Timestamp(0), json!({}))
    }

    #[test]
    fn a_list_is_taken_whole_or_not_at_all() {
        let mut topics = Topics::default();
        topics.add(vec!["run.*".to_owned(), "inbox.#".to_owned(), "run.*".to_owned()], None).unwrap();
        for wrong in [vec!["a.b", "a..b"], vec![], vec!["#.a"], vec!["a b"], vec!["run.["]] {
            let wrong = wrong.into_iter().map(str::to_owned).collect();
            assert_eq!(topics.add(wrong, None).unwrap_err().code().id, "CB-0827");
        }
        assert_eq!(topics.names(), ["run.*", "inbox.#"]);
        let many = (0..=TOPICS_MAX).map(|n| format!("run.{n}")).collect();
        assert!(topics.add(many, None).unwrap_err().message().contains("67 topics"));
        assert!(topics.want(&event("run.1")) && topics.want(&event("inbox.added")));
        assert!(!topics.want(&event("run.1.step.completed")) && !topics.want(&event("run")));
        topics.remove(&["run.*".to_owned(), "other".to_owned()]);
        assert!(!topics.want(&event("run.1")) && !topics.is_empty());
    }

    #[test]
    fn what_was_had_is_not_wanted_again_but_by_new_ones() {
        let mut topics = Topics::default();
        topics.add(vec!["run.a".to_owned()], None).unwrap();
        topics.had(Lsn(7));
        topics.add(vec!["run.b".to_owned()], Some(Lsn(3))).unwrap();
        let at = |topic: &str, lsn: i64| {
            let mut event = event(topic);
            event.lsn = Some(Lsn(lsn));
            event
        };
        assert!(!topics.want(&at("run.a", 7)) && topics.want(&at("run.a", 8)));
        assert!(!topics.want(&at("run.b", 3)) && topics.want(&at("run.b", 4)));
    }
}
