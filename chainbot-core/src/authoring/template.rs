//! Definitions to begin with: the examples of this version, built in.

/// An example.
#[derive(Clone, Debug)]
pub struct Template {
    /// Names it: its folder below `examples/workflows`.
    pub id: &'static str,
    /// The definition.
    pub source: &'static str,
    /// Inputs that it runs with, as JSON.
    pub inputs: &'static str,
}

macro_rules! templates {
    ($($id:literal),* $(,)?) => {
        &[$(Template {
            id: $id,
            source: include_str!(concat!("../../../examples/workflows/", $id, "/workflow.yaml")),
            inputs: include_str!(concat!("../../../examples/workflows/", $id, "/inputs.json")),
        }),*]
    };
}

/// All of them, by id.
pub const TEMPLATES: &[Template] = templates![
    "child-workflow",
    "conditional-routing",
    "disk-watch",
    "fan-out",
    "fetch-and-summarise",
    "nightly-report",
    "order-saga",
    "retry-flaky",
    "wait-for-approval",
];

/// What the predecessor called its templates, and the examples that show the same.
const OLD_IDS: [(&str, &str); 4] = [
    ("data-processing", "fan-out"),
    ("api-integration", "fetch-and-summarise"),
    ("monitoring-alert", "disk-watch"),
    ("agent-orchestration", "child-workflow"),
];

impl Template {
    /// The one of this id, or the one for an id of the predecessor's.
    pub fn find(id: &str) -> Option<&'static Self> {
        let id = OLD_IDS.iter().find(|(old, _)| *old == id).map_or(id, |(_, new)| new);
        TEMPLATES.iter().find(|template| template.id == id)
    }

    /// What it shows: the comment that it begins with.
    pub fn description(&self) -> &'static str {
        self.source.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_the_predecessor_lead_to_examples() {
        for (old, new) in OLD_IDS {
            assert_eq!(Template::find(old).map(|template| template.id), Some(new));
            assert!(TEMPLATES.iter().all(|template| template.id != old), "{old} is one of ours");
        }
    }

    #[test]
    fn every_example_is_a_template_and_every_template_is_valid() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/workflows");
        let mut examples: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("workflow.yaml").exists())
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        examples.sort();
        assert_eq!(TEMPLATES.iter().map(|template| template.id).collect::<Vec<_>>(), examples);
        for template in TEMPLATES {
            let checked = crate::validate::check(template.source);
            assert!(checked.definition.is_some_and(|one| one.name == template.id), "{}", template.id);
            assert!(serde_json::from_str::<serde_json::Value>(template.inputs).unwrap().is_object());
            assert!(!template.description().is_empty(), "{}", template.id);
        }
    }
}
