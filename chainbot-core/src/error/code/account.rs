//! CB-0346 to CB-0352, CB-0363 and CB-084x: accounts, and what they may do.

codes! {
    NOT_FOUND = "CB-0346", NotFound, "There is no such user";
    EXISTS = "CB-0347", Conflict, "A user of this name exists";
    LAST_ADMIN = "CB-0348", Conflict, "There must be an active admin";
    NO_TOKEN = "CB-0349", NotFound, "There is no such token or login";
    VALUE = "CB-0350", Invalid, "An account or a token cannot be made like this";
    NO_LOGIN = "CB-0351", Conflict, "The credential is no login of a user";
    MUST_CHANGE = "CB-0352", Forbidden, "The password must be changed first";
    NOT_OWNER = "CB-0363", Forbidden, "It belongs to somebody else";
    FORBIDDEN = "CB-0840", Forbidden, "The role or the scopes do not allow this";
    SIGN_IN = "CB-0841", Unauthorized, "Name or password is wrong";
    SETUP = "CB-0842", Conflict, "The first account exists, or does not exist yet";
    PASSWORD = "CB-0843", Invalid, "The password cannot be taken";
    ATTEMPTS = "CB-0844", Busy, "Too many tries to sign in";
    REFRESH = "CB-0845", Unauthorized, "The refresh token is not good";
    ROTATED = "CB-0846", Conflict, "The refresh token was used a moment ago";
    ORIGIN = "CB-0847", Forbidden, "The request does not come from a page of ChainBot";
    TWO_CREDENTIALS = "CB-0848", Malformed, "The request has two credentials";
    KEY = "CB-0849", Storage, "The key of the access tokens cannot be used";
}
