//! CB-01xx: problems in a workflow definition. Used by diagnostics, several at once.

codes! {
    INVALID = "CB-0100", Invalid, "The definition has problems";
    NOT_FOUND = "CB-0190", NotFound, "There is no such workflow";
    EXISTS = "CB-0191", Conflict, "A workflow of this name exists";
}
