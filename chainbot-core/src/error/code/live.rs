//! CB-0825 to CB-0829: WebSockets and what they tell.

codes! {
    UPGRADE = "CB-0825", Malformed, "The request does not open a WebSocket";
    FRAME = "CB-0826", Malformed, "A frame of a WebSocket cannot be used";
    TOPIC = "CB-0827", Invalid, "The topics cannot be subscribed to";
    SOCKETS = "CB-0828", Busy, "As many WebSockets are open as there may be";
    WINDOW = "CB-0829", NotFound, "There is no such window";
}
