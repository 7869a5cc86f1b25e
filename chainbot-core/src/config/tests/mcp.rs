//! `mcp.servers`: programs and addresses, what each takes, and where a secret may stand.

use serde_json::json;

use super::{load, problems};
use crate::agent::tool::mcp::{McpAddress, McpProgram, McpWay};

const TWO: &str = r#"
mcp:
  servers:
    clock:
      command: /usr/bin/clock-mcp
      args: ["--zone", "Europe/Berlin"]
      env: { CLOCK_KEY: "${credential:clock}", ZONE: UTC }
    house:
      url: "http://127.0.0.1:8123/mcp"
      token: "${file:/run/secrets/house}"
      tools: { now: "sha256:0f3c9d9e3f0d5a1a8d1b1c6f4a3f0c1f6a4e5d9b7c8a2e1f0d3c4b5a69788796" }
      classes: { now: read_only }
      timeout: 5s
"#;

#[test]
fn a_server_is_a_program_or_an_address() {
    let config = load(TWO, &[], json!({})).unwrap();
    let [clock, house] = &config.mcp.servers[..] else { panic!("{:?}", config.mcp.servers) };
    let text = |text: &str| text.to_owned();
    let program = McpProgram {
        command: text("/usr/bin/clock-mcp"),
        args: vec![text("--zone"), text("Europe/Berlin")],
        env: vec![(text("CLOCK_KEY"), text("${credential:clock}")), (text("ZONE"), text("UTC"))],
    };
    assert_eq!(clock.way, McpWay::Program(program));
    let at = McpAddress {
        url: text("http://127.0.0.1:8123/mcp"),
        token: Some(text("${file:/run/secrets/house}")),
    };
    assert_eq!((&house.way, house.timeout.as_secs(), house.tools.len()), (&McpWay::Address(at), 5, 1));
    // A variable's secret goes into a program and nowhere else, a token to its server.
    let references: Vec<(String, Vec<String>)> =
        config.references().into_iter().map(|(reference, hosts)| (reference.to_string(), hosts)).collect();
    assert_eq!(
        references,
        [
            (text("${credential:clock}"), Vec::new()),
            (text("${file:/run/secrets/house}"), vec![text("http://127.0.0.1:8123")])
        ]
    );
    // What is shown reads back as it is.
    assert_eq!(load("", &[], config.show()).unwrap().mcp, config.mcp);
}

#[test]
fn what_is_wrong_with_a_server_is_named_with_its_place() {
    for (entry, place, said) in [
        ("{}", "mcp.servers.house", "this one has neither"),
        ("{ command: /bin/a, url: \"https://a.example/mcp\" }", "mcp.servers.house", "this one has both"),
        ("{ url: \"https://a.example/mcp\", args: [] }", "mcp.servers.house.args", "no meaning here"),
        ("{ url: \"https://a.example/mcp\", env: {} }", "mcp.servers.house.env", "no meaning here"),
        ("{ command: /bin/a, token: \"${file:/t}\" }", "mcp.servers.house.token", "no meaning here"),
        ("{ url: a.example/mcp }", "mcp.servers.house.url", "takes an address"),
        ("{ url: \"ftp://a.example/mcp\" }", "mcp.servers.house.url", "takes an address"),
        ("{ url: \"https://a.example/mcp?key=canary\" }", "mcp.servers.house.url", "takes an address"),
        ("{ url: \"https://me:canary@a.example/mcp\" }", "mcp.servers.house.url", "takes an address"),
        ("{ url: \"https://0.0.0.0:99999/mcp\" }", "mcp.servers.house.url", "takes an address"),
        ("{ url: 7 }", "mcp.servers.house.url", "takes an address"),
        ("{ url: \"https://a.example/mcp\", token: canary }", "mcp.servers.house.token", "takes a reference"),
        ("{ url: \"https://a.example/mcp\", token: 7 }", "mcp.servers.house.token", "takes a reference"),
        (
            "{ url: \"https://a.example/mcp\", token: \"${TOKEN}\" }",
            "mcp.servers.house.token",
            "and this is none",
        ),
        ("{ url: \"${file:/t}\" }", "mcp.servers.house.url", "takes no reference"),
        ("{ command: \"${file:/t}\" }", "mcp.servers.house.command", "takes no reference"),
        ("{ command: /bin/a, args: [\"${file:/t}\"] }", "mcp.servers.house.args[0]", "takes no reference"),
        ("{ command: /bin/a, uri: x }", "mcp.servers.house.uri", "did you mean `url`?"),
        ("{ command: bin/a }", "mcp.servers.house.command", "absolute path"),
        ("/bin/a", "mcp.servers.house", "`command` or `url`"),
    ] {
        let found = problems(load(&format!("mcp: {{ servers: {{ house: {entry} }} }}"), &[], json!({})));
        let all = found.join("\n");
        assert!(all.contains(place) && all.contains(said) && !all.contains("canary"), "{entry}: {all}");
    }
}
