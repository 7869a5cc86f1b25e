//! A real browser: Chromium without a window, driven over its DevTools protocol. It resolves no names, so what a page asks of anybody
//! but this machine fails, and is seen to have been asked.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use crate::support::has_tool;

/// Only turns a hanging browser into a failing test.
const HANG: Duration = Duration::from_secs(180);
/// Where screenshots go when somebody wants to look: the name of a folder.
const SHOTS: &str = "CHAINBOT_SCREENSHOTS";

/// What pages did that nobody asked them to.
#[derive(Debug, Default)]
pub struct Seen {
    /// URLs of all requests.
    pub requests: Vec<String>,
    /// Texts of dialogs, which a page opens by a script.
    pub dialogs: Vec<String>,
    /// Exceptions that nobody caught.
    pub exceptions: Vec<String>,
    /// What a policy kept from happening.
    pub violations: Vec<String>,
}

/// A browser with one page.
pub struct Chromium {
    child: Child,
    socket: WebSocket<TcpStream>,
    session: String,
    last: u64,
    loads: u64,
    pub seen: Seen,
    // Removed with the browser.
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// `None` where there is no such browser.
    pub fn open() -> Option<Self> {
        let program =
            ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| has_tool(name))?;
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.args(["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        // The sandbox needs rights that a container lacks; what is opened here are our own pages.
        command.args(["--no-sandbox", "--disable-background-networking", "--disable-component-update"]);
        command.args([
            "--disable-sync",
            "--disable-extensions",
            "--disable-default-apps",
            "--remote-debugging-port=0",
        ]);
        command.arg("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1");
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let url = lines
            .find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned))
            .expect("the browser said where it listens");
        // Reads on so that the browser never waits for a full pipe; ends with it.
        std::thread::spawn(move || lines.for_each(drop));
        let address = url.trim_start_matches("ws://").split('/').next().unwrap().to_owned();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        let socket = client(url.as_str(), stream).unwrap().0;
        let mut browser = Self {
            child,
            socket,
            session: String::new(),
            last: 0,
            loads: 0,
            seen: Seen::default(),
            _profile: profile,
        };
        let page = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        browser.session =
            browser.ask("Target.attachToTarget", attach)["sessionId"].as_str().unwrap().to_owned();
        for part in ["Page", "Network", "Runtime", "Log", "Audits"] {
            browser.ask(&format!("{part}.enable"), json!({}));
        }
        let screen = json!({ "width": 1200, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        browser.ask("Emulation.setDeviceMetricsOverride", screen);
        Some(browser)
    }

    /// One command of the protocol and what it gives.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        loop {
            let frame = self.frame();
            if frame["id"] == id {
                assert!(frame["error"].is_null(), "{method}: {}", frame["error"]);
                return frame["result"].clone();
            }
        }
    }

    /// Opens a URL and waits until it is there with all it loads.
    pub fn go(&mut self, url: &str) {
        let before = self.loads;
        let went = self.ask("Page.navigate", json!({ "url": url }));
        assert!(went["errorText"].is_null(), "{url}: {went}");
        while self.loads == before {
            self.frame();
        }
    }

    /// The value of an expression in the page; a promise is waited for.
    pub fn eval(&mut self, script: &str) -> Value {
        let params = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let given = self.ask("Runtime.evaluate", params);
        assert!(given["exceptionDetails"].is_null(), "{script}: {given}");
        given["result"]["value"].clone()
    }

    /// Waits until an expression of the page is true.
    pub fn wait(&mut self, script: &str) {
        self.eval(&format!(
            "new Promise((done) => {{ const look = () => (({script}) ? done(true) : setTimeout(look, 20)); look(); }})"
        ));
    }

    /// Names and values of the cookies that a URL would be sent.
    pub fn cookies(&mut self, url: &str) -> Vec<(String, String)> {
        let given = self.ask("Network.getCookies", json!({ "urls": [url] }));
        let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        given["cookies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (text(one, "name"), text(one, "value")))
            .collect()
    }

    /// Keeps a picture of the page, where somebody wants one.
    pub fn shot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os(SHOTS) else { return };
        let shot = self.ask("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
    }

    fn send(&mut self, method: &str, params: Value) -> u64 {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": params });
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::Text(command.to_string().into())).unwrap();
        self.last
    }

    /// The next frame; what pages did is noted.
    fn frame(&mut self) -> Value {
        let text = loop {
            match self.socket.read().expect("the browser answers") {
                Message::Text(text) => break text,
                _ => continue,
            }
        };
        let frame: Value = serde_json::from_str(&text).unwrap();
        let params = &frame["params"];
        let mut dialog = false;
        match frame["method"].as_str() {
            Some("Page.loadEventFired") => self.loads += 1,
            Some("Page.javascriptDialogOpening") => {
                self.seen.dialogs.push(params["message"].to_string());
                dialog = true;
            }
            Some("Network.requestWillBeSent") => {
                self.seen.requests.push(params["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            Some("Runtime.exceptionThrown") => {
                self.seen.exceptions.push(params["exceptionDetails"].to_string())
            }
            Some("Audits.issueAdded") if params["issue"]["code"] == "ContentSecurityPolicyIssue" => {
                self.seen.violations.push(params["issue"]["details"].to_string());
            }
            _ => {}
        }
        if dialog {
            // A page stands still until it is answered; what comes back is nobody's to wait for.
            self.send("Page.handleJavaScriptDialog", json!({ "accept": true }));
        }
        frame
    }
}

/// A test that fails must not leave a browser behind.
impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
