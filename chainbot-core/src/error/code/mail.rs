//! CB-11xx: mail.

codes! {
    ACCOUNT = "CB-1100", Invalid, "There is no such mail account";
    ADDRESS = "CB-1101", Invalid, "A mail address is wrong";
    MESSAGE = "CB-1102", Invalid, "The mail cannot be made as it is";
    REFUSED = "CB-1103", Network, "The mail server refused";
    LATER = "CB-1104", Network, "The mail server refused for now";
    SIGN_IN = "CB-1105", Network, "The mail server did not let the account in";
    PROTOCOL = "CB-1106", Network, "The mail server cannot be used";
    CLEAR = "CB-1107", Network, "Mail does not travel in clear to this server";
}
