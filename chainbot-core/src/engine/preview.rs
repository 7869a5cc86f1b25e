//! One expression or text looked at without a run that goes on: in the names of a run as it stands, or of an example.
//!
//! Nothing is executed and nothing changes. Secrets have no value here: they have one only in what an effect is given.

use serde_json::{Map, Value};

use crate::error::Pos;
use crate::expr::{Data, Error, Expression, Scope, Template, Volatile};
use crate::id::NodeId;
use crate::model::{Place, Text};

use super::decide::Constants;
use super::scope::PlaceScope;
use super::state::RunState;

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Previewed {
    /// Text with `{{ }}`, as the fields of steps have it.
    Text(String),
    /// An expression, as conditions have it.
    Expression(String),
}

/// Whose names count.
pub enum Names<'a> {
    /// A run's, at a step of it, within these iterations; of the whole run without a step.
    Run {
        /// The run as it stands.
        state: &'a RunState,
        /// The step's id.
        step: Option<&'a str>,
        /// Indexes of the loops around it.
        path: Vec<u32>,
    },
    /// Those of an example: `inputs`, `vars`, `steps` and whatever else it has.
    Example(&'a Map<String, Value>),
}

/// Evaluates it.
pub fn preview(
    what: &Previewed,
    names: &Names<'_>,
    constants: &Constants,
    volatile: &Volatile,
) -> Result<Data, Error> {
    match names {
        Names::Run { state, step, path } => {
            let node = step.and_then(|id| state.program.by_id.get(id).copied()).unwrap_or(NodeId(0));
            let place = Place { node, path: path.clone() };
            evaluate(what, &PlaceScope::new(state, &place, constants), volatile)
        }
        Names::Example(example) => evaluate(what, &Example { given: example, constants }, volatile),
    }
}

fn evaluate(what: &Previewed, scope: &dyn Scope, volatile: &Volatile) -> Result<Data, Error> {
    match what {
        Previewed::Text(source) => {
            let text = Text { pos: Pos::default(), source: source.clone() };
            Template::compile_text(&text)?.render(scope, volatile)
        }
        Previewed::Expression(source) => Expression::compile(source)?.evaluate(scope, volatile),
    }
}

/// An example's names.
struct Example<'a> {
    given: &'a Map<String, Value>,
    constants: &'a Constants,
}

const CONTAINERS: [&str; 2] = ["steps", "vars"];

impl Scope for Example<'_> {
    fn value(&self, name: &str) -> Option<Data> {
        self.given.get(name).filter(|_| !self.is_container(name)).map(|value| Data::new(value.clone()))
    }

    fn is_container(&self, name: &str) -> bool {
        name == "config" || (CONTAINERS.contains(&name) && self.given.get(name).is_none_or(Value::is_object))
    }

    fn member(&self, container: &str, member: &str) -> Option<Data> {
        if container == "config" {
            return self.constants.get(member).cloned().map(Data::from_json);
        }
        self.given.get(container)?.get(member).map(|value| Data::new(value.clone()))
    }

    fn members(&self, container: &str) -> Vec<String> {
        if container == "config" {
            return self.constants.keys().cloned().collect();
        }
        let members = self.given.get(container).and_then(Value::as_object);
        members.into_iter().flat_map(Map::keys).cloned().collect()
    }

    fn names(&self) -> Vec<String> {
        self.given.keys().cloned().chain(["config".to_owned()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::time::Timestamp;

    fn look(what: Previewed, example: Value) -> Result<Value, Error> {
        let volatile = Volatile { now: Timestamp(1_767_225_600_000), seed: [7; 32] };
        let Value::Object(example) = example else { panic!("an object") };
        preview(&what, &Names::Example(&example), &Constants::new(), &volatile)
            .map(|data| (**data.json()).clone())
    }

    #[test]
    fn an_example_gives_values_of_their_types_and_reasons_where_there_is_none() {
        let example = json!({
            "inputs": { "who": "Mia" }, "vars": { "n": 3 }, "steps": { "fetch": { "output": { "items": [1, 2] } } }
        });
        let text = |source: &str| look(Previewed::Text(source.to_owned()), example.clone());
        let bare = |source: &str| look(Previewed::Expression(source.to_owned()), example.clone());
        assert_eq!(text("Hello, {{ inputs.who }}").unwrap(), "Hello, Mia");
        assert_eq!(text("{{ steps.fetch.output.items }}").unwrap(), json!([1, 2]));
        assert_eq!(bare("vars.n > 2").unwrap(), true);
        assert_eq!(bare("now()").unwrap(), "2026-01-01T00:00:00.000Z");
        for (source, word) in [
            ("vars.m", "m"),
            ("steps.fetsh.output", "fetsh"),
            ("secrets.key", "secrets"),
            ("1 +", ""),
            ("item", "item"),
        ] {
            let error = bare(source).unwrap_err();
            assert!(error.message.contains(word), "{source}: {error:?}");
        }
    }
}
