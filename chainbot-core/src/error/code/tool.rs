//! CB-128x: what agents may do: grants, clients of APIs, MCP servers.

codes! {
    GRANT = "CB-1280", Invalid, "What the agent is granted is not there or reads wrong";
    API = "CB-1281", Invalid, "The configuration of an API cannot be used";
}
