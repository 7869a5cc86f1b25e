//! CB-03xx: runs and steps.

codes! {
    NOT_FOUND = "CB-0300", NotFound, "There is no such run";
    INPUTS = "CB-0301", Invalid, "The inputs do not match the workflow's schema";
    QUEUE_FULL = "CB-0302", Busy, "Too many runs are queued";
    FINISHED = "CB-0303", Conflict, "The run is over";
    SIGNAL = "CB-0304", Invalid, "The signal is wrong";
    STATE_LIMIT = "CB-0305", Invalid, "The run's data is over its bound";
    STEP_LIMIT = "CB-0306", Invalid, "A step went over a bound";
    STEP_TIMEOUT = "CB-0307", Timeout, "A step or run was not done within its timeout";
    UNCERTAIN = "CB-0308", Conflict, "It is unknown whether an effect happened";
    CHILD = "CB-0309", Invalid, "A child run did not complete";
    STEP_INVALID = "CB-0330", Invalid, "A step was given data it cannot use";
    TOPIC = "CB-0331", Invalid, "The topic is not allowed for `emit`";
    ANSWERED = "CB-0340", Conflict, "The question is answered already";
    ANSWER = "CB-0341", Invalid, "The answer is not one that the question takes";
    QUESTION = "CB-0342", NotFound, "There is no such question";
    NOT_FAILED = "CB-0343", Conflict, "Only a failed run can be retried";
    NOT_FINISHED = "CB-0344", Conflict, "The run is not over";
    FORK = "CB-0345", Invalid, "The run cannot be forked there";
    STATUS = "CB-0310", Network, "The reply's status is not a success";
    REPLY_FORMAT = "CB-0311", Invalid, "The reply is not in the format asked for";
    REPLY_SCHEMA = "CB-0312", Invalid, "The reply does not match the step's schema";
    REPLY_DEPTH = "CB-0313", TooLarge, "The reply's JSON is too deep";
    CONCURRENCY = "CB-0360", Conflict, "The workflow's concurrency allows no more runs";
    CHAIN = "CB-0361", Conflict, "Runs start one another in a circle";
    NOT_FIRED = "CB-0362", Conflict, "The trigger does not fire now";
    EFFECT_INPUT = "CB-0314", Invalid, "The step's input is wrong";
    PAGES = "CB-0320", Invalid, "The pages of a reply cannot be put together";
}
