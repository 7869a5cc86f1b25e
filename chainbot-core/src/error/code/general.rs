//! CB-00xx: requests, credentials, limits, the program itself.

codes! {
    INTERNAL = "CB-0001", Internal, "Something went wrong inside ChainBot";
    NO_ROUTE = "CB-0002", NotFound, "There is no such path";
    METHOD = "CB-0003", Method, "The path does not take this method";
    UNAUTHORIZED = "CB-0004", Unauthorized, "The credential is missing or wrong";
    BODY_TOO_LARGE = "CB-0005", TooLarge, "The body is larger than this route takes";
    MEDIA_TYPE = "CB-0006", MediaType, "The content type is not taken here";
    MALFORMED = "CB-0007", Malformed, "The request does not parse";
    UNKNOWN_FIELD = "CB-0008", Invalid, "The body has a field that is not known here";
    BUSY = "CB-0009", Busy, "Over a bound; try again later";
    IDEMPOTENCY = "CB-0010", Conflict, "The idempotency key was used for another request";
    PRECONDITION = "CB-0011", Precondition, "The object has changed since it was read";
    STOPPING = "CB-0012", Unavailable, "The module is stopping or not started";
    TIMEOUT = "CB-0013", Timeout, "Not done in time";
    NOT_HERE = "CB-0014", Unsupported, "Not offered over this way in";
    FILE = "CB-0015", Storage, "A file cannot be read or written";
    QUERY = "CB-0016", Invalid, "A query parameter is wrong";
    FIELD = "CB-0017", Invalid, "A field of the body is missing or of the wrong type";
    TOKEN = "CB-0018", Invalid, "The access token is not well formed";
    TOO_DEEP = "CB-0019", Invalid, "The body is nested too deeply";
    DOCUMENT = "CB-0020", NotFound, "There is no such document";
    LOG_FILE = "CB-0021", Storage, "The log cannot be written to its file";
}
