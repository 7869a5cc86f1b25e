//! CB-125x: what agents remember, and archives of chats.

codes! {
    NOT_FOUND = "CB-1250", NotFound, "Nothing of this is remembered";
    CHANGED = "CB-1251", Precondition, "The block has changed meanwhile";
    BLOCK = "CB-1252", Invalid, "The block cannot be written like this";
    ITEM = "CB-1253", Invalid, "This cannot be remembered";
    FULL = "CB-1254", Conflict, "The memory is full";
    ARCHIVE = "CB-1255", NotFound, "There is no such archive";
    EXPORT = "CB-1256", Invalid, "The file is no export of chats";
    EXPORT_SIZE = "CB-1257", TooLarge, "The export is over its bound";
}
