//! CB-05xx: configuration.

codes! {
    INVALID = "CB-0500", Invalid, "The configuration has problems";
    FILE = "CB-0501", Storage, "The configuration file cannot be read";
}
