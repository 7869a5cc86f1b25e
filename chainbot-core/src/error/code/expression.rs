//! CB-02xx: expressions.

codes! {
    INVALID = "CB-0200", Invalid, "The expression is wrong";
    FORBIDDEN = "CB-0201", Invalid, "The expression uses something that expressions do not have";
    UNKNOWN = "CB-0202", Invalid, "There is no such function, filter or test";
    TOO_LARGE = "CB-0203", Invalid, "The expression is too large";
    UNDEFINED = "CB-0204", Invalid, "A name in the expression is not defined";
    EVALUATION = "CB-0205", Invalid, "The expression cannot be evaluated with these values";
    FUEL = "CB-0206", Invalid, "The expression does too much work";
    RESULT_SIZE = "CB-0207", Invalid, "The result of an expression is too large";
    RESULT = "CB-0208", Invalid, "The result of an expression is not JSON";
    NOT_TEXT = "CB-0209", Invalid, "Text is needed and the value is a list or an object";
    VALUE = "CB-0210", Invalid, "A JSON value is over its bounds";
    ITEMS = "CB-0211", Invalid, "The value cannot be gone through item by item";
    TRANSFORM = "CB-0212", Invalid, "A transform cannot work with its input";
    LOST = "CB-0213", Unavailable, "Threads were lost to expressions that did not end";
    ENDLESS = "CB-0214", Invalid, "An expression of a trigger does not end";
}
