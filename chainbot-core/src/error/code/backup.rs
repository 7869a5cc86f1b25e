//! CB-085x: backups, made and put back.

codes! {
    NOT_FOUND = "CB-0850", NotFound, "There is no such backup";
    EXISTS = "CB-0851", Conflict, "A backup of this name exists";
    DAMAGED = "CB-0852", Storage, "The backup is not as it was made";
    FAILED = "CB-0853", Storage, "The backup cannot be made";
    NO_ROOM = "CB-0854", Full, "There is no room for the backup";
    UNDER_WAY = "CB-0855", Conflict, "A backup is being made";
    PASSPHRASE = "CB-0856", Invalid, "The passphrase does not serve";
    RESTORE = "CB-0857", Storage, "The backup cannot be put in place";
    NAME = "CB-0858", Invalid, "That cannot be a backup's name";
}
