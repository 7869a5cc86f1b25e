//! CB-02xx: expressions.

codes! {
    INVALID = "CB-0200", Invalid, "The expression is wrong";
}
