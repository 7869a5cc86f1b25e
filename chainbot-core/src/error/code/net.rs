//! CB-06xx: outbound requests and the policy on them.

codes! {
    URL = "CB-0600", Network, "The URL is not allowed";
    ADDRESS = "CB-0601", Network, "The address may not be reached";
    NOT_GRANTED = "CB-0602", Network, "No grant covers this host and port";
    OWN_ADDRESS = "CB-0603", Network, "ChainBot does not call itself";
    NAME = "CB-0604", Network, "The host name has no address";
    CONNECT = "CB-0605", Network, "No connection could be made";
    TLS = "CB-0606", Network, "The TLS connection could not be made";
    CUT = "CB-0607", Network, "The connection broke in the middle";
    TIMEOUT = "CB-0608", Timeout, "The request was not done in time";
    REPLY_TOO_LARGE = "CB-0609", TooLarge, "The reply is over its bound";
    REQUEST = "CB-0610", Invalid, "The request cannot be sent as it is";
    REPLY_BROKEN = "CB-0611", Network, "The reply is not proper HTTP";
    REDIRECT = "CB-0612", Network, "The redirect is not followed";
    GRANT = "CB-0613", Invalid, "The grant is wrong";
    LOCAL_URL = "CB-0614", Invalid, "The server's URL is not on this machine";
}
