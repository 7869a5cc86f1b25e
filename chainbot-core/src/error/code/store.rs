//! CB-04xx: the data folder and the database.

codes! {
    OPEN = "CB-0400", Storage, "The database cannot be opened";
    SETTINGS = "CB-0401", Storage, "The database refused a setting that durability needs";
    NEWER = "CB-0402", Storage, "The database was written by a newer version";
    LOCKED = "CB-0403", Conflict, "Another process uses the data folder";
    WRITE = "CB-0404", Storage, "A write did not reach the disk";
    READ = "CB-0405", Storage, "A read from the database failed";
    CORRUPT = "CB-0406", Storage, "A journal record does not decode or its checksum is wrong";
    DATA_DIR = "CB-0407", Storage, "The data folder cannot be used";
    FULL = "CB-0408", Full, "The disk is full";
    REFUSED = "CB-0409", Internal, "A write does not fit what is stored";
    RECORD_SIZE = "CB-0410", TooLarge, "A journal record is over its bound";
}
