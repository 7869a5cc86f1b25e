//! CB-128x: what agents may do: grants, clients of APIs, MCP servers.

codes! {
    GRANT = "CB-1280", Invalid, "What the agent is granted is not there or reads wrong";
    API = "CB-1281", Invalid, "The configuration of an API cannot be used";
    MCP_START = "CB-1282", Network, "An MCP server does not start or does not speak";
    MCP_CALL = "CB-1283", Network, "An MCP server did not do what it was asked";
    MCP_PIN = "CB-1284", Conflict, "A tool of an MCP server is not the approved one";
    MCP_AUTH = "CB-1286", Network, "An MCP server does not take the credential";
}
