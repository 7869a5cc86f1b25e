//! CB-122x: agents and their tasks.

codes! {
    INVALID = "CB-1220", Invalid, "An agent's definition is wrong";
    NOT_FOUND = "CB-1221", NotFound, "There is no such agent";
    EXISTS = "CB-1222", Conflict, "An agent of that name exists";
    TERMINATED = "CB-1223", Conflict, "The agent takes no task";
    LIMIT = "CB-1224", Busy, "There are as many agents as may be";
    TASK = "CB-1225", Invalid, "The task cannot be taken";
    BUDGET = "CB-1226", Conflict, "The budget is used up";
    TURNS = "CB-1227", Conflict, "The task did not end within its turns";
    STALLED = "CB-1228", Conflict, "The task makes no progress";
    ANSWER = "CB-1229", Network, "The model's answer does not fit";
    TOOL = "CB-1230", Invalid, "A tool that was granted is not there";
    PROMPT = "CB-1231", Internal, "A prompt cannot be made again as it was";
    DAY = "CB-1233", Conflict, "The budget of the day is used up";
    TIME = "CB-1232", Network, "The task's working time is over";
}
