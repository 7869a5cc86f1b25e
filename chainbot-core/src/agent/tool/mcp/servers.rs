//! The servers of the operator's file: started when first asked, left when idle, one process of each at most.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::pin::pin;
use super::session::Session;
use crate::error::code::tool as code;
use crate::error::similar;
use crate::limits::{MCP_IDLE_S_DEFAULT, MCP_PAGES_MAX, MCP_SCHEMA_BYTES_MAX, MCP_TOOLS_MAX};
use crate::model::{EffectClass, StepError, class};
use crate::port::SecretText;

/// A server as the operator's file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpServer {
    /// What grants call it.
    pub name: String,
    /// Absolute path of the program.
    pub command: String,
    /// Given as they are; there is no shell.
    pub args: Vec<String>,
    /// All of the child's environment. What begins with `${` is a reference to a secret.
    pub env: Vec<(String, String)>,
    /// Approved tools with their pins. No other tool is offered.
    pub tools: BTreeMap<String, String>,
    /// What doing them twice means; `unsafe` where nothing is said.
    pub classes: BTreeMap<String, EffectClass>,
    /// For its greeting and each of its answers.
    pub timeout: Duration,
}

/// How a tool stands to its approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Its face is the approved one.
    Approved,
    /// The file does not name it.
    New,
    /// Its face is another one than was approved.
    Changed,
}

/// A tool as its server lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct McpToolView {
    /// The server's name for it.
    pub name: String,
    /// The server's words.
    pub description: String,
    /// Of its arguments.
    pub schema: Value,
    /// Of name, description and schema.
    pub pin: String,
    /// Whether it may be used.
    pub approval: Approval,
}

/// Gives what a reference such as `${credential:clock}` stands for.
pub type OpenReference = Arc<dyn Fn(&str) -> crate::Result<SecretText> + Send + Sync>;

/// All servers.
pub struct McpServers {
    servers: Vec<McpServer>,
    open: Option<OpenReference>,
    idle: Duration,
    /// A lock of tokio's, for it is held while a server is started: who comes meanwhile waits for that one.
    live: Arc<Mutex<HashMap<String, Live>>>,
}

struct Live {
    session: Arc<Session>,
    used: Instant,
}

impl McpServers {
    /// Starts none.
    pub fn new(servers: Vec<McpServer>) -> Self {
        Self::with_idle(servers, Duration::from_secs(MCP_IDLE_S_DEFAULT))
    }

    /// With another time after which a server is left.
    pub fn with_idle(servers: Vec<McpServer>, idle: Duration) -> Self {
        Self { servers, open: None, idle, live: Arc::default() }
    }

    /// With a way to what references in environments stand for.
    pub fn with_references(mut self, open: OpenReference) -> Self {
        self.open = Some(open);
        self
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(|server| server.name.as_str())
    }

    pub(super) fn server(&self, name: &str) -> Result<&McpServer, StepError> {
        self.servers.iter().find(|server| server.name == name).ok_or_else(|| {
            let hint = match similar(name, self.names()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => "the operator adds it under mcp.servers".to_owned(),
            };
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            StepError::new(class::INVALID, &code::GRANT, format!("there is no MCP server `{shown}`; {hint}"))
        })
    }

    /// The session of a server, which is started when there is none.
    pub(super) async fn session(&self, name: &str) -> Result<Arc<Session>, StepError> {
        let server = self.server(name)?;
        let mut live = self.live.lock().await;
        if let Some(known) = live.get_mut(name).filter(|known| known.session.is_alive()) {
            known.used = Instant::now();
            return Ok(known.session.clone());
        }
        live.remove(name);
        let session = Arc::new(Session::start(server, &self.env(server)?).await?);
        live.insert(name.to_owned(), Live { session: session.clone(), used: Instant::now() });
        // Ends with the session, or when there are no servers any more.
        tokio::spawn(leave_idle(
            Arc::downgrade(&self.live),
            name.to_owned(),
            Arc::downgrade(&session),
            self.idle,
        ));
        Ok(session)
    }

    /// The environment of a child, with what references stand for.
    fn env(&self, server: &McpServer) -> Result<Vec<(String, SecretText)>, StepError> {
        let failed = |name: &str, why: String| {
            let message =
                format!("the MCP server `{}` does not start: its variable `{name}`: {why}", server.name);
            StepError::new(class::INVALID, &code::MCP_START, message)
        };
        let value = |(name, text): &(String, String)| match (text.starts_with("${"), &self.open) {
            (false, _) => Ok((name.clone(), SecretText::new(text.clone()))),
            (true, Some(open)) => open(text)
                .map(|value| (name.clone(), value))
                .map_err(|error| failed(name, error.message().to_owned())),
            (true, None) => Err(failed(name, "nothing here opens references to secrets".to_owned())),
        };
        server.env.iter().map(value).collect()
    }

    /// Marks a server as used just now, at the end of a call.
    pub(super) async fn touch(&self, name: &str) {
        if let Some(live) = self.live.lock().await.get_mut(name) {
            live.used = Instant::now();
        }
    }

    /// The tools of a server, by name, with what the operator thinks of each.
    pub async fn tools(&self, name: &str) -> Result<Vec<McpToolView>, StepError> {
        let server = self.server(name)?;
        let session = self.session(name).await?;
        let (mut tools, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..MCP_PAGES_MAX {
            let params = cursor.take().map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
            let page = session.request("tools/list", params, server.timeout).await?;
            let listed = page.get("tools").and_then(Value::as_array).into_iter().flatten();
            tools.extend(listed.filter_map(|tool| view(server, tool)));
            if tools.len() > MCP_TOOLS_MAX {
                return Err(too_many(name));
            }
            cursor = page.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                tools.sort_by(|a, b| a.name.cmp(&b.name));
                return Ok(tools);
            }
        }
        Err(too_many(name))
    }

    /// Kills all of them.
    pub async fn stop(&self) {
        self.live.lock().await.clear();
    }
}

fn too_many(name: &str) -> StepError {
    let message =
        format!("the MCP server `{name}` lists more than {MCP_TOOLS_MAX} tools or {MCP_PAGES_MAX} pages");
    StepError::new(class::LIMIT, &code::MCP_CALL, message)
}

/// `None` for what is no tool that could be called, or too large to be offered to a model.
fn view(server: &McpServer, tool: &Value) -> Option<McpToolView> {
    let name = tool.get("name")?.as_str()?.to_owned();
    let description = tool.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let schema = tool.get("inputSchema")?.clone();
    let fits = !name.is_empty()
        && name.len() <= 128
        && !name.chars().any(char::is_control)
        && schema.is_object()
        && description.len() + schema.to_string().len() <= MCP_SCHEMA_BYTES_MAX;
    if !fits {
        log::warn!("the MCP server `{}` lists what is no tool or too large; it is left out", server.name);
        return None;
    }
    let pin = pin(&name, &description, &schema);
    let approval = match server.tools.get(&name) {
        None => Approval::New,
        Some(approved) if *approved == pin => Approval::Approved,
        Some(_) => Approval::Changed,
    };
    Some(McpToolView { name, description, schema, pin, approval })
}

/// Lets a session go once nobody has used it for a time and no call is under way.
async fn leave_idle(
    live: Weak<Mutex<HashMap<String, Live>>>,
    name: String,
    session: Weak<Session>,
    idle: Duration,
) {
    loop {
        let until = {
            // Held no longer than this look: servers that nobody has any more end at once.
            let Some(live) = live.upgrade() else { return };
            let mut all = live.lock().await;
            let own = all.get(&name).filter(|own| Weak::ptr_eq(&Arc::downgrade(&own.session), &session));
            let Some(own) = own else { return };
            let (until, is_used) = (own.used + idle, Arc::strong_count(&own.session) > 1);
            if until <= Instant::now() && !is_used {
                all.remove(&name);
                return;
            }
            until
        };
        sleep_until(until.max(Instant::now() + idle / 4)).await;
    }
}
