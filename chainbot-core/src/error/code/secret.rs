//! CB-10xx: secrets.

codes! {
    NOT_FOUND = "CB-1000", NotFound, "There is no such secret";
    KEY = "CB-1001", Storage, "The key of the secrets is missing or wrong";
    HOST = "CB-1002", Network, "The secret may not be sent to this host";
    VALUE = "CB-1003", Invalid, "The secret cannot be stored as it is";
    DAMAGED = "CB-1004", Storage, "A stored secret does not open";
    USE = "CB-1005", Invalid, "A secret is used in a way that could reveal it";
    PLACE = "CB-1006", Invalid, "A secret cannot be used here";
    UNUSABLE = "CB-1007", Invalid, "The secret's value does not fit its use";
    EXPORTED = "CB-1008", Invalid, "The file of exported secrets does not read";
    TAKEN = "CB-1009", Conflict, "The exported secrets cannot be brought in as they are";
}
