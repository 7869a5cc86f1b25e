//! CB-111x: messages that leave after their step, and channels of notifications.

codes! {
    FULL = "CB-1110", Busy, "The outbox is full";
    TOO_LARGE = "CB-1111", TooLarge, "The message is over its bound";
    NOT_FOUND = "CB-1112", NotFound, "There is no such message";
    UNDER_WAY = "CB-1113", Conflict, "The message is being sent at this moment";
    CHANNEL = "CB-1114", Invalid, "There is no such channel";
    REFUSED = "CB-1115", Network, "The channel's server refused";
    PROTOCOL = "CB-1116", Network, "The broker cannot be used";
    CLEAR = "CB-1117", Network, "Messages do not travel in clear to this broker";
}
