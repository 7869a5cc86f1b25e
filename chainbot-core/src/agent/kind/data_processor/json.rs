//! JSON as rows, without holding the whole: the items of a list, wherever it stands in the document.

use std::io::Read;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::guard::Watch;
use crate::model::StepError;

/// Takes a row, or says why the work ends.
pub(super) type Sink<'a> = dyn FnMut(Value) -> Result<(), StepError> + 'a;

/// Gives every item of the list at `at` to the sink; an object there is one row. Whether there was something is the result.
pub(super) fn each_item(
    from: impl Read,
    at: &[String],
    watch: &Watch,
    sink: &mut Sink<'_>,
) -> Result<bool, serde_json::Error> {
    // The parser takes its bytes one by one.
    let mut parser = serde_json::Deserializer::from_reader(std::io::BufReader::new(from));
    let mut found = false;
    Items { at, watch, sink, found: &mut found }.deserialize(&mut parser)?;
    parser.end()?;
    Ok(found)
}

struct Items<'a, 's> {
    /// Members still to go through.
    at: &'a [String],
    watch: &'a Watch,
    sink: &'a mut Sink<'s>,
    found: &'a mut bool,
}

impl Items<'_, '_> {
    fn give<E: serde::de::Error>(&mut self, row: Value) -> Result<(), E> {
        self.watch.row();
        (self.sink)(row).map_err(|error| E::custom(self.watch.breaks(error)))
    }

    fn no_list<T, E: serde::de::Error>(&self, what: &str) -> Result<T, E> {
        Err(E::custom(match self.at.first() {
            Some(member) => format!("there is {what} where an object with `{member}` should be"),
            None => format!("there is {what} where the list of rows should be"),
        }))
    }
}

impl<'de> DeserializeSeed<'de> for Items<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        if !self.at.is_empty() {
            return self.no_list("a list");
        }
        *self.found = true;
        while let Some(row) = items.next_element::<Value>()? {
            self.give(row)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let Some((member, rest)) = self.at.split_first() else {
            *self.found = true;
            let row = Value::deserialize(MapAccessDeserializer::new(entries))?;
            return self.give(row);
        };
        while let Some(key) = entries.next_key::<String>()? {
            if key == *member {
                let Self { watch, sink, found, .. } = &mut self;
                entries.next_value_seed(Items { at: rest, watch, sink: &mut **sink, found })?;
            } else {
                entries.next_value::<IgnoredAny>()?;
                self.watch.row();
            }
        }
        Ok(())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.no_list("null")
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.no_list("a boolean")
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.no_list("a number")
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.no_list("a number")
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.no_list("a number")
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.no_list("text")
    }
}
