//! CB-13xx: pins of the machine.

codes! {
    NO_PIN = "CB-1300", Invalid, "The pin is not configured";
    MODE = "CB-1301", Invalid, "The pin is configured for the other direction";
    TAKEN = "CB-1302", Conflict, "Another step took the pin over";
    BY_HAND = "CB-1304", Conflict, "The pin is not driven by hand";
    LINE = "CB-1303", Storage, "The pin cannot be used";
}
