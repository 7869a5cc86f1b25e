//! Server-sent events out of lines. Pure.

use std::time::Duration;

/// Bytes of an event's id, which goes back to the server as a header.
const ID_BYTES_MAX: usize = 1_024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Empty where the server names none.
    pub name: String,
    /// The lines of data, joined by line ends.
    pub data: String,
}

/// Gathers the lines of an event.
#[derive(Default)]
pub(crate) struct Events {
    now: Event,
    has_data: bool,
    /// Of the event under way.
    id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Events {
    /// Takes a line; gives the event that it ends. Comments and unknown fields are left out.
    pub fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            // Of an event that ended, with data or without: one that was cut is not the last one that came.
            self.last_id.clone_from(&self.id);
            let event = std::mem::take(&mut self.now);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.now.name),
            "id" if value.len() <= ID_BYTES_MAX && !value.contains('\0') => {
                self.id = (!value.is_empty()).then(|| value.to_owned());
            }
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                // A number too long for u64 is a very long time.
                self.retry = Some(Duration::from_millis(value.parse().unwrap_or(u64::MAX)));
            }
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

    /// The id of the last event that came whole, from where a server may go on.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server wants to be left alone before it is asked to go on.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Forgets the event under way: its stream is over. The next one goes on after the event with this id.
    pub fn cut(&mut self, last: Option<String>) {
        (self.now, self.has_data) = (Event::default(), false);
        self.id.clone_from(&last);
        self.last_id = last;
    }

    /// The event that the end of the stream ends; some servers leave the last empty line out.
    pub fn end(&mut self) -> Option<Event> {
        self.line("")
    }
}

/// Whether a line belongs to a stream of events: servers are known to answer with one document all the same.
pub(crate) fn is_field(line: &str) -> bool {
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

    #[test]
    fn the_place_to_go_on_from_is_that_of_the_last_whole_event() {
        let mut events = Events::default();
        let mut feed = |text: &str| {
            text.lines().for_each(|line| drop(events.line(line)));
            (events.last_id().map(str::to_owned), events.retry())
        };
        assert_eq!(feed("data: a\n\n"), (None, None));
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(feed("id: 1\nretry: 500\ndata:\n\n"), (Some("1".to_owned()), ms(500)));
        assert_eq!(feed("id: 2\ndata: cut"), (Some("1".to_owned()), ms(500)));
        assert_eq!(feed("\n"), (Some("2".to_owned()), ms(500)));
        assert_eq!(feed("data: b\n\nretry: soon\nretry: -1\n"), (Some("2".to_owned()), ms(500)));
        assert_eq!(feed("id: a\0b\nretry: 99999999999999999999\n\n"), (Some("2".to_owned()), ms(u64::MAX)));
        assert_eq!(feed("id:\n\n").0, None);
    }
}
