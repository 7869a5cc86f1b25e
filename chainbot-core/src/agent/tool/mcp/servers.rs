//! The servers of the operator's file: greeted when first asked, left when idle, one conversation with each at most.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::http::Http;
use super::link::{Link, Lost};
use super::mirror;
use super::pin::pin;
use super::pipes::Pipes;
use super::session::Session;
use crate::env::Env;
use crate::error::code::tool as code;
use crate::error::similar;
use crate::limits::{
    MCP_CALLS_MAX, MCP_IDLE_S_DEFAULT, MCP_LEAVE_S_MAX, MCP_PAGES_MAX, MCP_SCHEMA_BYTES_MAX, MCP_TOOLS_MAX,
};
use crate::model::{EffectClass, StepError, class};
use crate::net::{Egress, Policy};
use crate::port::SecretText;

/// A server as the operator's file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpServer {
    /// What grants call it.
    pub name: String,
    /// How it is reached.
    pub way: McpWay,
    /// Approved tools with their pins. No other tool is offered.
    pub tools: BTreeMap<String, String>,
    /// What doing them twice means; `unsafe` where nothing is said.
    pub classes: BTreeMap<String, EffectClass>,
    /// For its greeting and each of its answers.
    pub timeout: Duration,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McpWay {
    /// By the pipes of a child.
    Program(McpProgram),
    /// By HTTP.
    Address(McpAddress),
}

/// A program that is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct McpProgram {
    /// Its absolute path.
    pub command: String,
    /// Given as they are; there is no shell.
    pub args: Vec<String>,
    /// All of the child's environment. What begins with `${` is a reference to a secret.
    pub env: Vec<(String, String)>,
}

/// A server that runs already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpAddress {
    /// Where it answers.
    pub url: String,
    /// Reference to the secret that it is shown.
    pub token: Option<String>,
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

/// How long a server has to hear that it is left.
const LEAVE: Duration = Duration::from_secs(MCP_LEAVE_S_MAX);

/// Gives what a reference such as `${credential:clock}` stands for.
pub type OpenReference = Arc<dyn Fn(&str) -> crate::Result<SecretText> + Send + Sync>;

/// All servers.
pub struct McpServers {
    servers: Vec<McpServer>,
    open: Option<OpenReference>,
    idle: Duration,
    /// To the addresses of the servers and nowhere else: who names one in the configuration means it to be called.
    egress: Arc<Egress>,
    /// By name. Held for a look or a change.
    live: Arc<Mutex<HashMap<String, Live>>>,
    /// Of each server, held while it is greeted: who wants it meanwhile waits, and who wants another does not. Always taken before `live`.
    greeting: HashMap<String, Mutex<()>>,
}

struct Live {
    session: Arc<Session>,
    used: Instant,
}

impl McpServers {
    /// Starts none and calls none. `own`: where ChainBot itself listens, which no server is reached at.
    pub fn new(servers: Vec<McpServer>, env: Env, own: Vec<SocketAddr>) -> crate::Result<Self> {
        let urls = servers.iter().filter_map(|server| match &server.way {
            McpWay::Program(_) => None,
            McpWay::Address(at) => Some((at.url.as_str(), format!("the MCP server `{}`", server.name))),
        });
        // A call that waits for its reply holds a place, and what it is asked meanwhile is answered from another.
        let egress = Egress::new(Policy::to_servers(urls, own)?, env)?.with_places(2 * MCP_CALLS_MAX);
        let idle = Duration::from_secs(MCP_IDLE_S_DEFAULT);
        let greeting = servers.iter().map(|server| (server.name.clone(), Mutex::default())).collect();
        Ok(Self { servers, open: None, idle, egress: Arc::new(egress), live: Arc::default(), greeting })
    }

    /// With another time after which a server is left.
    #[must_use]
    pub fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// With a way to what references stand for.
    #[must_use]
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

    /// The session of a server, which is greeted when there is none.
    pub(super) async fn session(&self, name: &str) -> Result<Arc<Session>, StepError> {
        let server = self.server(name)?;
        let _greeting = match self.greeting.get(name) {
            Some(greeting) => Some(greeting.lock().await),
            None => None,
        };
        {
            let mut live = self.live.lock().await;
            if let Some(known) = live.get_mut(name).filter(|known| known.session.is_alive()) {
                known.used = Instant::now();
                return Ok(known.session.clone());
            }
            live.remove(name);
        }
        let session = Arc::new(Session::greet(name, self.link(server)?, server.timeout).await?);
        let known = Live { session: session.clone(), used: Instant::now() };
        self.live.lock().await.insert(name.to_owned(), known);
        // Ends with the session, or when there are no servers any more.
        tokio::spawn(leave_idle(
            Arc::downgrade(&self.live),
            name.to_owned(),
            Arc::downgrade(&session),
            self.idle,
        ));
        Ok(session)
    }

    fn link(&self, server: &McpServer) -> Result<Box<dyn Link>, StepError> {
        Ok(match &server.way {
            McpWay::Program(program) => {
                let opened = |(name, text): &(String, String)| {
                    let value = match text.starts_with("${") {
                        true => self.opened(server, &format!("variable `{name}`"), text)?,
                        false => SecretText::new(text.clone()),
                    };
                    Ok((name.clone(), value))
                };
                let env = program.env.iter().map(opened).collect::<Result<Vec<_>, StepError>>()?;
                Box::new(Pipes::start(&server.name, program, &env)?)
            }
            McpWay::Address(at) => {
                let token = at.token.as_ref().map(|text| self.opened(server, "token", text)).transpose()?;
                Box::new(Http::new(&server.name, &at.url, token, self.egress.clone()))
            }
        })
    }

    /// What a reference stands for.
    fn opened(&self, server: &McpServer, what: &str, reference: &str) -> Result<SecretText, StepError> {
        let opened = match &self.open {
            Some(open) => open(reference).map_err(|error| error.message().to_owned()),
            None => Err("nothing here opens references to secrets".to_owned()),
        };
        opened.map_err(|why| {
            let message = format!("the MCP server `{}` cannot be used: its {what}: {why}", server.name);
            StepError::new(class::INVALID, &code::MCP_START, message)
        })
    }

    /// Asks a server. One that forgot the conversation has not looked at the request, and is asked again in a new one.
    pub(super) async fn ask(
        &self,
        name: &str,
        method: &str,
        params: Value,
        headers: &[(String, String)],
        limit: Duration,
    ) -> Result<Value, StepError> {
        let mut asked = self.session(name).await?.request(method, params.clone(), headers, limit).await;
        if let Err(Lost::Gone(_)) = asked {
            asked = self.session(name).await?.request(method, params, headers, limit).await;
        }
        self.touch(name).await;
        asked.map_err(Lost::into_error)
    }

    /// Marks a server as used just now, at the end of a call.
    async fn touch(&self, name: &str) {
        if let Some(live) = self.live.lock().await.get_mut(name) {
            live.used = Instant::now();
        }
    }

    /// The tools of a server, by name, with what the operator thinks of each.
    pub async fn tools(&self, name: &str) -> Result<Vec<McpToolView>, StepError> {
        let server = self.server(name)?;
        let (mut tools, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..MCP_PAGES_MAX {
            let params = cursor.take().map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
            let page = self.ask(name, "tools/list", params, &[], server.timeout).await?;
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

    /// Kills those that were started, and takes leave of the others.
    pub async fn stop(&self) {
        let all = std::mem::take(&mut *self.live.lock().await);
        let mut leaving: JoinSet<()> =
            all.into_values().map(|live| async move { live.session.close(LEAVE).await }).collect();
        // None takes longer than the bound.
        while leaving.join_next().await.is_some() {}
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
        && mirror::is_good(&schema)
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
        let look = {
            // Held no longer than this look: servers that nobody has any more end at once.
            let Some(live) = live.upgrade() else { return };
            let mut all = live.lock().await;
            let own = all.get(&name).filter(|own| Weak::ptr_eq(&Arc::downgrade(&own.session), &session));
            let Some(own) = own else { return };
            let (until, is_used) = (own.used + idle, Arc::strong_count(&own.session) > 1);
            match until <= Instant::now() && !is_used {
                true => Err(all.remove(&name)),
                false => Ok(until),
            }
        };
        match look {
            Ok(until) => sleep_until(until.max(Instant::now() + idle / 4)).await,
            Err(left) => {
                if let Some(left) = left {
                    left.session.close(LEAVE).await;
                }
                return;
            }
        }
    }
}
