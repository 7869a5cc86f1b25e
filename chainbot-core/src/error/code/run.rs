//! CB-03xx: runs and steps.

codes! {
    NOT_FOUND = "CB-0300", NotFound, "There is no such run";
    INPUTS = "CB-0301", Invalid, "The inputs do not match the workflow's schema";
    QUEUE_FULL = "CB-0302", Busy, "Too many runs are queued";
    FINISHED = "CB-0303", Conflict, "The run is over";
    SIGNAL = "CB-0304", Invalid, "The signal is wrong";
    STATE_LIMIT = "CB-0305", Invalid, "The run's data is over its bound";
    STATUS = "CB-0310", Network, "The reply's status is not a success";
    REPLY_FORMAT = "CB-0311", Invalid, "The reply is not in the format asked for";
    REPLY_SCHEMA = "CB-0312", Invalid, "The reply does not match the step's schema";
    REPLY_DEPTH = "CB-0313", TooLarge, "The reply's JSON is too deep";
    EFFECT_INPUT = "CB-0314", Invalid, "The step's input is wrong";
}
