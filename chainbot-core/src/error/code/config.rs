//! CB-05xx: configuration.

codes! {
    INVALID = "CB-0500", Invalid, "The configuration has problems";
    FILE = "CB-0501", Storage, "The configuration file cannot be read";
    UNKNOWN_KEY = "CB-0502", Invalid, "The key is not known";
    VALUE = "CB-0503", Invalid, "The value has the wrong type, shape or range";
    NO_EFFECT = "CB-0504", Invalid, "The key is known and has no effect in this version";
    NOT_ALLOWED = "CB-0505", Invalid, "The setting is refused because it would be unsafe";
    SYNTAX = "CB-0506", Malformed, "The configuration file is not YAML";
    DOCUMENT = "CB-0507", Malformed, "What the host handed over as configuration is not of the agreed shape";
    PORT = "CB-0508", Storage, "The port cannot be opened";
    NEEDS_RESTART = "CB-0509", Unsupported, "The change needs a restart";
    REFERENCE = "CB-0510", Invalid, "The reference to a secret is wrong or leads nowhere";
}
