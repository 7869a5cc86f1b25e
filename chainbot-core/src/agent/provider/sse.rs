//! Server-sent events out of lines. Pure.

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Empty where the server names none.
    pub name: String,
    /// The lines of data, joined by line ends.
    pub data: String,
}

/// Gathers the lines of an event.
#[derive(Default)]
pub(super) struct Events {
    now: Event,
    has_data: bool,
}

impl Events {
    /// Takes a line; gives the event that it ends. Comments and unknown fields are left out.
    pub fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.now);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.now.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.now.data.push('\n');
                }
                self.now.data.push_str(value);
            }
            _ => {}
        }
        None
    }

    /// The event that the end of the stream ends; some servers leave the last empty line out.
    pub fn end(&mut self) -> Option<Event> {
        self.line("")
    }
}

/// Whether a line belongs to a stream of events: servers are known to answer with one document all the same.
pub(super) fn is_field(line: &str) -> bool {
    ["data:", "event:", "id:", "retry:", ":"].iter().any(|field| line.starts_with(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<Event> {
        let mut events = Events::default();
        let mut found: Vec<_> = text.lines().filter_map(|line| events.line(line)).collect();
        found.extend(events.end());
        found
    }

    #[test]
    fn events_are_read_as_the_standard_has_them() {
        let event = |name: &str, data: &str| Event { name: name.into(), data: data.into() };
        assert_eq!(events("data: a\n\ndata:b\n\n"), [event("", "a"), event("", "b")]);
        assert_eq!(events("event: ping\ndata: {}\n\n"), [event("ping", "{}")]);
        assert_eq!(events("data: a\ndata:  b\n\n"), [event("", "a\n b")]);
        assert_eq!(events(": comment\n\nid: 3\nretry: 5\n\n"), []);
        assert_eq!(events("event: a\n\ndata: b\n\n"), [event("", "b")]);
        assert_eq!(events("data: last"), [event("", "last")]);
        assert_eq!(events("data\n\n"), [event("", "")]);
    }
}
