//! What a key of the configuration is: its place, what it takes, its default, its meaning.
//!
//! One [`Key`] is the only description of a setting: reading, checking, the JSON Schema, the commented default
//! file and the help all come from it. Knows nothing of sources.

/// A setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Section and name: `api.port`.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// As JSON text, of this kind.
    pub default: &'static str,
    /// One or two sentences for people.
    pub doc: &'static str,
}

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `[A-Za-z0-9_-]+`, at most 64 characters.
    Name,
    /// A folder.
    Folder,
    /// A file, or null for none.
    File,
    /// A cron expression, or null for none.
    Cron,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A TCP port, or null for none.
    Port,
    /// An IP address, or `localhost`.
    Address,
    /// A list of IP addresses.
    Addresses,
    /// A number of seconds, or text such as `1h30m`.
    Duration {
        /// Shortest, in seconds.
        min_s: u64,
        /// Longest, in seconds.
        max_s: u64,
    },
    /// One of the words, in any case.
    Choice(&'static [&'static str]),
    /// `sqlite:` and a path within the data folder.
    DatabaseUrl,
    /// A list of beginnings of event topics.
    Prefixes,
    /// A list of `{host, ports, why}`.
    Grants,
    /// A list of `{name, host, port, tls, user, password, from}`.
    Accounts,
    /// A map from names to `{pin, mode, safe, active_low, max_on, bias, debounce}`.
    Pins,
    /// A map from names to `{kind, ...}`.
    Channels,
    /// A map from names to `{command, args, env, tools, classes, timeout}`.
    McpServers,
    /// A map from names to any values.
    Constants,
    /// The name of something, or null for none.
    NameOrNone,
    /// An address with http or https, or null for none.
    Url,
    /// The name of a secret or a reference to one, or null for none.
    Key,
    /// A text of one line.
    Line,
    /// A number from 0 to 2.
    Temperature,
    /// An amount in the currency of the prices; 0 = no bound.
    Amount,
    /// A map from names to `{kind, base_url, api_key, ...}`.
    Providers,
    /// A map from names to `{provider, model, ...}`.
    Models,
    /// A map from names to lists of names.
    Fallback,
    /// A map from names to `{instructions, model, ...}`.
    Presets,
    /// A text that is never shown, a reference to one, or null.
    Secret,
}

impl Kind {
    /// For messages: what the setting takes.
    pub fn takes(&self) -> String {
        match self {
            Kind::Name => "a name of letters, digits, `_` and `-`, at most 64 characters".to_owned(),
            Kind::Folder => "the path of a folder".to_owned(),
            Kind::File => "the path of a file, or null for none".to_owned(),
            Kind::Cron => "a cron expression of five fields in UTC, or null for none".to_owned(),
            Kind::Bool => "true or false".to_owned(),
            Kind::Int { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Port => "a port from 0 to 65535, or null for none".to_owned(),
            Kind::Address => "an IP address, or localhost".to_owned(),
            Kind::Addresses => "a list of IP addresses".to_owned(),
            Kind::Duration { min_s, max_s } => {
                format!("seconds from {min_s} to {max_s}, or a duration such as 30s, 5m, 1h30m")
            }
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::DatabaseUrl => "`sqlite:` and a path within the data folder".to_owned(),
            Kind::Prefixes => "a list of topic beginnings, each ending in `.`".to_owned(),
            Kind::Grants => "a list of {host, ports, why}".to_owned(),
            Kind::Accounts => "a list of {name, host, port, tls, user, password, from}".to_owned(),
            Kind::Secret => {
                "a text of 32 characters or more, ${file:/path}, ${credential:name}, or null".to_owned()
            }
            Kind::NameOrNone => "a name, or null for none".to_owned(),
            Kind::Url => "an address such as `http://127.0.0.1:8080/v1`, or null for none".to_owned(),
            Kind::Key => {
                "the name of a secret, ${file:/path}, ${credential:name}, or null for none".to_owned()
            }
            Kind::Line => "a text of one line".to_owned(),
            Kind::Temperature => "a number from 0 to 2".to_owned(),
            Kind::Amount => "an amount of money".to_owned(),
            Kind::Providers => "a map from names to {kind, base_url, api_key, ...}".to_owned(),
            Kind::Models => "a map from names to {provider, model, context, dialect, price, ...}".to_owned(),
            Kind::Fallback => "a map from names of models to lists of them".to_owned(),
            Kind::Presets => {
                "a map from names to {description, instructions, model, temperature, max_output}".to_owned()
            }
            Kind::Constants => "a map from names to values".to_owned(),
            Kind::Channels => "a map from names to {kind: ntfy | telegram | mqtt, ...}".to_owned(),
            Kind::McpServers => {
                "a map from names to {command, args, env | url, token, tools, classes, timeout}".to_owned()
            }
            Kind::Pins => {
                "a map from names to {pin, mode, safe, active_low, max_on, bias, debounce}".to_owned()
            }
        }
    }
}

impl Key {
    /// The section.
    pub fn section(&self) -> &'static str {
        self.path.split('.').next().unwrap_or(self.path)
    }

    /// The name within the section.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }
}
