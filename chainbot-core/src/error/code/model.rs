//! CB-12xx: models and their servers.

codes! {
    CONNECT = "CB-1200", Network, "The model server cannot be reached";
    TIMEOUT = "CB-1201", Network, "The model did not answer in time";
    CUT = "CB-1202", Network, "The model's answer was cut";
    RATE_LIMITED = "CB-1203", Network, "The model server asks to wait";
    OVERLOADED = "CB-1204", Network, "The model server is overloaded or failed";
    AUTH = "CB-1205", Network, "The model server does not accept the key";
    CONTEXT = "CB-1206", Invalid, "The prompt is larger than the model's context";
    TOO_LARGE = "CB-1207", Network, "The model's answer is over its bound";
    REFUSED = "CB-1208", Network, "The model server refuses the request";
    INVALID = "CB-1209", Network, "The model's answer cannot be used";
    CANCELLED = "CB-1210", Conflict, "The call of the model was cancelled";
    UNKNOWN = "CB-1211", NotFound, "No model of this name is configured";
    INCAPABLE = "CB-1212", Invalid, "The model cannot call tools";
}
