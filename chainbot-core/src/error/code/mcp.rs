//! CB-1285 to CB-1289: what is published for clients of the Model Context Protocol.

codes! {
    VERSION = "CB-1285", Malformed, "That version of the Model Context Protocol is not spoken";
    TOOL_NAME = "CB-1287", Conflict, "Another tool of MCP clients has this name";
}
