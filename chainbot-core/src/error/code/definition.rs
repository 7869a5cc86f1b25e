//! CB-01xx: problems in a workflow definition. Used by diagnostics, several at once.

codes! {
    INVALID = "CB-0100", Invalid, "The definition has problems";
    TOO_LARGE = "CB-0101", TooLarge, "The source is larger than its bound";
    SYNTAX = "CB-0102", Invalid, "The source is not valid YAML or JSON";
    YAML = "CB-0103", Invalid, "The source uses a part of YAML that is not taken";
    DUPLICATE_KEY = "CB-0104", Invalid, "A key is there twice";
    DOCUMENT_BOUND = "CB-0105", Invalid, "The document is too deep or has too many values";
    UNKNOWN_KEY = "CB-0110", Invalid, "The key is not known here";
    MISPLACED_KEY = "CB-0111", Invalid, "The key belongs somewhere else";
    MISSING_KEY = "CB-0112", Invalid, "A key is missing";
    WRONG_TYPE = "CB-0113", Invalid, "The value is of the wrong type";
    UNKNOWN_VALUE = "CB-0114", Invalid, "The value is none of those known";
    DURATION = "CB-0115", Invalid, "The duration or time does not read";
    NAME = "CB-0116", Invalid, "The name is not well formed or is reserved";
    RANGE = "CB-0117", Invalid, "The value is out of its range";
    NOT_YET = "CB-0118", Invalid, "Known, and not in this version yet";
    OLD_NAME = "CB-0119", Invalid, "An old way to write it";
    EXCLUSIVE = "CB-0120", Invalid, "These keys do not go together";
    BARE_EXPRESSION = "CB-0121", Invalid, "A bare expression is wanted here";
    DUPLICATE_STEP = "CB-0130", Invalid, "Two steps have the same id";
    UNKNOWN_STEP = "CB-0131", Invalid, "There is no such step";
    OUT_OF_LOOP = "CB-0132", Invalid, "A step inside a loop cannot be seen from outside";
    NOT_RUN_YET = "CB-0133", Invalid, "The step cannot have run yet";
    UNSET_VARIABLE = "CB-0134", Invalid, "The variable is not set, or not before here";
    UNKNOWN_INPUT = "CB-0135", Invalid, "The schema of the inputs has no such property";
    OUT_OF_SCOPE = "CB-0136", Invalid, "The name is not known here";
    UNKNOWN_MEMBER = "CB-0137", Invalid, "The value has no such member";
    TOO_MANY_STEPS = "CB-0140", Invalid, "The definition has too many steps or nests them too deep";
    DEPENDS_ON = "CB-0141", Invalid, "A dependency is wrong";
    CYCLE = "CB-0142", Invalid, "Steps depend on each other in a circle";
    UNREACHABLE = "CB-0143", Invalid, "A branch can never run";
    SCHEMA = "CB-0144", Invalid, "A JSON Schema is not valid";
    SCHEMA_DEFAULT = "CB-0145", Invalid, "A default does not match its schema";
    URL = "CB-0146", Invalid, "The URL cannot be called";
    TOPIC = "CB-0147", Invalid, "The topic of the event is not a user's";
    TOO_MANY = "CB-0149", Invalid, "More problems than are shown";
    NOT_FOUND = "CB-0190", NotFound, "There is no such workflow";
    CRON = "CB-0170", Invalid, "The cron expression or the time zone is wrong";
    PATTERN = "CB-0171", Invalid, "The pattern of topics is wrong";
    DUPLICATE_TRIGGER = "CB-0172", Invalid, "The same trigger is there twice";
    HOOK_EXISTS = "CB-0195", Conflict, "Another workflow has this webhook";
    NO_SECRET = "CB-0196", Invalid, "The secret of a webhook cannot be had";
    NO_TRIGGER = "CB-0197", NotFound, "The workflow has no such trigger";
    EXISTS = "CB-0191", Conflict, "A workflow of this name exists";
}
