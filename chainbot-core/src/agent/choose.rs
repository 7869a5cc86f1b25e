//! Which tools a task is offered when more are granted than a model finds its way among: those whose words fit the task best (BM25).
//!
//! Invariants: the same tools and task give the same choice; what is left out is named, for the record; of a long task so many words count as of a
//! search in the memory. Must not know models or families.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::model::ToolSpec;
use crate::port::Terms;
use crate::task::estimate_tokens;

/// Tools that are all offered: small models choose badly among more.
const OFFERED_MAX: usize = 12;
/// Their part of the model's context at most: the rest is for the task.
const CONTEXT_PART: u64 = 4;
/// Letters of a word that count.
const BEGINNING: usize = 6;
/// Of BM25: how soon a word that comes again counts no more, and how much long descriptions are held against a tool.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The tools that are offered, by name, and the names of those that are not.
pub(super) fn choose(tools: Vec<ToolSpec>, task: &str, context: u32) -> (Vec<ToolSpec>, Vec<String>) {
    let room = u64::from(context) / CONTEXT_PART;
    let sizes: Vec<u64> = tools.iter().map(size).collect();
    if tools.len() <= OFFERED_MAX && sizes.iter().sum::<u64>() <= room {
        return (tools, Vec::new());
    }
    let scores = scores(&tools, task);
    let mut order: Vec<usize> = (0..tools.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then_with(|| tools[*a].name.cmp(&tools[*b].name)));
    let (mut taken, mut used) = (BTreeSet::new(), 0);
    for index in order {
        let is_first = taken.is_empty();
        if taken.len() < OFFERED_MAX && (is_first || used + sizes[index] <= room) {
            used += sizes[index];
            taken.insert(index);
        }
    }
    let (mut offered, mut left_out) = (Vec::with_capacity(taken.len()), Vec::new());
    for (index, tool) in tools.into_iter().enumerate() {
        match taken.contains(&index) {
            true => offered.push(tool),
            false => left_out.push(tool.name),
        }
    }
    (offered, left_out)
}

/// Tokens of a tool in a prompt.
fn size(tool: &ToolSpec) -> u64 {
    estimate_tokens(&json!([tool.name, tool.description, tool.schema]).to_string())
}

/// How well each tool's words fit those of the task.
fn scores(tools: &[ToolSpec], task: &str) -> Vec<f64> {
    let wanted: BTreeSet<String> = Terms::of(task).words().iter().flat_map(|word| words(word)).collect();
    let texts: Vec<Vec<String>> = tools.iter().map(text_of).collect();
    let count = texts.len() as f64;
    let mean = texts.iter().map(Vec::len).sum::<usize>() as f64 / count;
    let mut with: HashMap<&str, f64> = HashMap::new();
    for text in &texts {
        for word in text.iter().collect::<BTreeSet<_>>() {
            *with.entry(word).or_default() += 1.0;
        }
    }
    let score = |text: &Vec<String>| {
        let of_word = |word: &String| {
            let times = text.iter().filter(|other| *other == word).count() as f64;
            let with = with.get(word.as_str()).copied().unwrap_or_default();
            let rarity = ((count - with + 0.5) / (with + 0.5)).ln_1p();
            rarity * times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * text.len() as f64 / mean))
        };
        wanted.iter().map(of_word).sum()
    };
    texts.iter().map(score).collect()
}

/// What is said of a tool: its name, its description, and names and descriptions of its arguments.
fn text_of(tool: &ToolSpec) -> Vec<String> {
    let mut all: Vec<String> = words(&tool.name).chain(words(&tool.description)).collect();
    for (name, schema) in tool.schema["properties"].as_object().into_iter().flatten() {
        all.extend(words(name));
        all.extend(words(schema["description"].as_str().unwrap_or_default()));
        let choices = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        all.extend(choices.flat_map(words));
    }
    all
}

/// Words by their beginnings, lower case: endings are told apart in no language, which finds `tomatoes` by `tomato`.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(|word| {
        let word = word.to_lowercase();
        let stem = word.strip_suffix('s').filter(|stem| stem.len() > 2).unwrap_or(&word);
        stem.chars().take(BEGINNING).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EffectClass;

    fn tool(name: &str, description: &str, schema: Value) -> ToolSpec {
        ToolSpec {
            name: name.to_owned(),
            family: "home".to_owned(),
            operation: name.to_owned(),
            description: description.to_owned(),
            schema,
            class: EffectClass::ReadOnly,
            reads_private: false,
            is_untrusted: false,
            is_outward: false,
        }
    }

    fn house(count: usize) -> Vec<ToolSpec> {
        let mut tools: Vec<ToolSpec> =
            (0..count).map(|n| tool(&format!("lamp_{n:02}"), "Switches a lamp.", json!({}))).collect();
        tools.push(tool("read_weather", "Tells the forecast of rain for tomorrow.", json!({})));
        let pump = json!({ "properties": { "zone": { "enum": ["tomatoes", "roses"] } } });
        tools.push(tool("water", "Opens a valve.", pump));
        tools
    }

    fn names(tools: &[ToolSpec]) -> Vec<&str> {
        tools.iter().map(|tool| tool.name.as_str()).collect()
    }

    #[test]
    fn few_tools_are_all_offered() {
        let (offered, left_out) = choose(house(10), "Anything?", 8_192);
        assert_eq!((offered.len(), left_out.len()), (12, 0));
    }

    #[test]
    fn of_many_those_are_offered_whose_words_fit_the_task() {
        for (task, wanted) in [
            ("Will it rain?", "read_weather"),
            ("Give the tomato plants something.", "water"),
            ("Switch on LAMP 39", "lamp_39"),
        ] {
            let (offered, left_out) = choose(house(40), task, 8_192);
            assert!(names(&offered).contains(&wanted), "{task}: {:?}", names(&offered));
            assert_eq!((offered.len(), left_out.len()), (12, 30), "{task}");
            assert!(names(&offered).is_sorted());
        }
    }

    #[test]
    fn few_tools_that_fill_the_context_are_too_many() {
        let long = "a valve of the garden ".repeat(60);
        let mut tools: Vec<ToolSpec> =
            (0..4).map(|n| tool(&format!("valve_{n}"), &long, json!({}))).collect();
        tools.push(tool("weather", "Tells of rain.", json!({})));
        let (offered, left_out) = choose(tools, "Rain?", 4_096);
        assert_eq!(names(&offered), ["valve_0", "valve_1", "weather"]);
        assert_eq!(left_out, ["valve_2", "valve_3"]);
        // One is offered whatever its size: the prompt's own bound says what is too much.
        let (offered, _) = choose(vec![tool("valve", &long.repeat(20), json!({}))], "x", 4_096);
        assert_eq!(offered.len(), 1);
    }
}
