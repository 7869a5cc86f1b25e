//! Presets: what an agent is unless its own configuration says otherwise. Four are always there; the operator changes them and adds others.

use super::models::ModelSettings;

/// A ready character of an agent. It has no tools: those are granted to an agent, never to a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// What agents call it.
    pub name: String,
    /// For people.
    pub description: String,
    /// What the model is told first.
    pub instructions: String,
    /// The model, or `default`.
    pub model: String,
    /// How words are drawn.
    pub temperature: Option<f64>,
    /// Tokens of one reply, at most.
    pub max_output: Option<u32>,
}

impl Preset {
    /// Those that are always there.
    pub fn seeds() -> Vec<Self> {
        let seed = |name: &str, description: &str, instructions: &str, temperature, max_output| Self {
            name: name.to_owned(),
            description: description.to_owned(),
            instructions: instructions.to_owned(),
            model: "default".to_owned(),
            temperature: Some(temperature),
            max_output: Some(max_output),
        };
        vec![
            seed(
                "general_assistant",
                "Helps with everyday questions and tasks.",
                "You are a helpful assistant. Answer what was asked, briefly and in plain words. Say so when you do not know.",
                0.7,
                2_048,
            ),
            seed(
                "code_assistant",
                "Writes, explains and reviews code.",
                "You are an experienced programmer. Write code that is correct, small and readable, name what you assume, and explain only \
                 what is not plain from the code.",
                0.3,
                4_096,
            ),
            seed(
                "creative_writer",
                "Writes stories, texts and ideas.",
                "You are a writer with a voice of your own. Be vivid and concrete, vary your sentences, and keep to the form and length that \
                 were asked for.",
                0.9,
                2_048,
            ),
            seed(
                "analyst",
                "Looks at data and draws careful conclusions.",
                "You are a careful analyst. Say what the data show, with numbers, then what may follow from them and how sure that is. Never make a \
                 number up.",
                0.2,
                3_072,
            ),
        ]
    }

    /// Whether its model is there.
    pub fn is_of(&self, models: &ModelSettings) -> bool {
        self.model == "default" || models.models.iter().any(|model| model.name == self.model)
    }
}
