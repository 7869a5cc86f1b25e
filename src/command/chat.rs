//! `chainbot chat`: a conversation with an agent, a line at a time. On a terminal the answer is shown as it comes, and a person is asked here for what
//! the agent may not do alone.
//!
//! What comes is shown and decides nothing: the answer, and whether the task is over, are asked of the API. So a stream that breaks costs the sight of
//! the words coming, and no word.

use std::io::{BufRead, IsTerminal, Read};
use std::time::Duration;

use chainbot_core::model::{RunStatus, RunView};
use serde_json::{Value, json};

use crate::args::Chat;
use crate::client::{Client, Events, Happened, segment};
use crate::error::{Error, Result, code};
use crate::output::{self, Stream, Tone, printable};
use crate::session::Session;

/// Exit code when an answer did not come.
const FAILED: u8 = 1;
/// Between two looks at the task, should no event wake us.
const LOOK: Duration = Duration::from_secs(1);
/// How long a server may be away, for an upgrade or a restart.
const AWAY_MAX: Duration = Duration::from_secs(15);
/// What is said in one line; the server takes as much.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Open questions that are looked through.
const QUESTIONS_MAX: usize = 1_000;

/// Talks.
pub async fn run(args: &Chat) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot chat").await?;
    let outcome = talk(&session, args).await;
    let closed = session.close().await;
    let code = outcome?;
    closed?;
    Ok(code)
}

async fn talk(session: &Session, args: &Chat) -> Result<u8> {
    let client = &session.client;
    let thread: Value = match &args.thread {
        Some(id) => client.get(&format!("/chat/threads/{}", segment(id))).await?,
        None => client.post("/chat/threads", &json!({ "agent": args.name })).await?,
    };
    let id = |key: &str| thread[key].as_str().unwrap_or_default().to_owned();
    let mut chat = Conversation {
        client,
        thread: id("id"),
        agent: id("agent_id"),
        is_json: args.json.json,
        is_shown: !args.json.json && Stream::Stdout.is_terminal(),
        events: None,
    };
    if let Some(text) = &args.text {
        return chat.say(text).await;
    }
    if !chat.is_json {
        let head = format!("conversation {}; an empty line or Ctrl-D leaves it", chat.thread);
        output::note(&Stream::Stderr.paint(Tone::Faint, &head));
    }
    let mut last = 0;
    while let Some(line) = read_line().await? {
        last = chat.say(&line).await?;
    }
    Ok(last)
}

/// A line of standard input; `None` at its end, and for an empty one. On a thread of its own: an engine in this process goes on meanwhile.
async fn read_line() -> Result<Option<String>> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line).map(|_| line)
    });
    let failed = |why: &dyn std::fmt::Display| Error::new(&code::INPUT, format!("standard input: {why}"));
    let line = read.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    Ok(Some(line.trim().to_owned()).filter(|line| !line.is_empty()))
}

/// A conversation.
struct Conversation<'a> {
    client: &'a Client,
    thread: String,
    agent: String,
    is_json: bool,
    /// Answers are shown as they come.
    is_shown: bool,
    events: Option<Events>,
}

/// What a person has seen of an answer.
#[derive(Default)]
struct Shown {
    /// The reply that is on the screen, or begins there.
    text: String,
    /// The cursor is behind it.
    is_open: bool,
    /// Questions that were shown, by id.
    asked: Vec<String>,
}

impl Conversation<'_> {
    /// Says something and waits for the answer.
    async fn say(&mut self, text: &str) -> Result<u8> {
        if self.events.is_none() {
            // Before the task begins, so that nothing of its answer is missed.
            self.events =
                self.client.stream(&format!("topics=agent.{}.*,inbox.added", self.agent)).await.ok();
        }
        let path = format!("/chat/threads/{}/messages", segment(&self.thread));
        let run: RunView = self.client.post(&path, &json!({ "text": text })).await?;
        let mut shown = Shown::default();
        let run = self.until_over(&run.id.to_string(), &mut shown).await?;
        self.answer(&run, &shown)?;
        Ok(if run.status == RunStatus::Completed { 0 } else { FAILED })
    }

    async fn until_over(&mut self, run: &str, shown: &mut Shown) -> Result<RunView> {
        let mut away = Duration::ZERO;
        loop {
            match self.client.get::<RunView>(&format!("/runs/{run}")).await {
                Ok(view) if view.status.is_terminal() => return Ok(view),
                Ok(view) if view.status == RunStatus::Waiting => self.ask(run, shown).await?,
                Ok(_) => away = Duration::ZERO,
                Err(error) if error.is_away() && away < AWAY_MAX => away += LOOK,
                Err(error) => return Err(error),
            }
            let look = tokio::time::sleep(LOOK);
            tokio::pin!(look);
            loop {
                tokio::select! {
                    () = &mut look => break,
                    error = self.client.failed() => return Err(error),
                    next = next_of(&mut self.events) => match next {
                        Some(event) if self.show(&event, run, shown)? => break,
                        Some(_) => {}
                        // The looks go on without it.
                        None => self.events = None,
                    },
                }
            }
        }
    }

    /// Shows an event; whether the task should be looked at.
    fn show(&self, event: &Happened, run: &str, shown: &mut Shown) -> Result<bool> {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        if data["run"] != run {
            return Ok(false);
        }
        match event.kind.as_str() {
            "agent.delta" if self.is_shown => {
                if let Some(text) = data["text"].as_str() {
                    shown.text.push_str(text);
                    shown.is_open = true;
                    output::raw(&printable(text))?;
                } else {
                    // A call of a tool, or the same reply once more.
                    shown.break_line()?;
                }
            }
            "agent.tool" if !self.is_json && data["status"] == "started" => {
                shown.break_line()?;
                let (tool, arguments) = (data["tool"].as_str().unwrap_or_default(), &data["arguments"]);
                let used = format!("  uses {} {}", printable(tool), printable(&arguments.to_string()));
                output::note(&Stream::Stderr.paint(Tone::Faint, &used));
            }
            "agent.task" | "inbox.added" => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    /// Asks what the task waits for of a person, or says that it does.
    async fn ask(&self, run: &str, shown: &mut Shown) -> Result<()> {
        let (open, _) = self.client.list::<Value>("/inbox", QUESTIONS_MAX).await?;
        for one in open.iter().filter(|one| one["run"] == run) {
            let id = one["id"].as_str().unwrap_or_default().to_owned();
            if shown.asked.contains(&id) {
                continue;
            }
            shown.break_line()?;
            let question = &one["question"];
            let message = printable(question["message"].as_str().unwrap_or_default());
            let list = question["choices"].as_array();
            let choices: Vec<&str> = list.into_iter().flatten().filter_map(Value::as_str).collect();
            shown.asked.push(id.clone());
            if self.is_json || !(std::io::stdin().is_terminal() && Stream::Stderr.is_terminal()) {
                let all = choices.join(" or ");
                output::note(&format!("it waits for a person: {message}\n`chainbot answer {id}` with {all}"));
                continue;
            }
            output::note(&format!("{} {message}", Stream::Stderr.paint(Tone::Warn, "?")));
            output::note(&format!("  {}; nothing leaves it open", choices.join(" or ")));
            let Some(word) = read_line().await? else { continue };
            // What was typed may be the beginning of one choice.
            let mut fits = choices.iter().filter(|choice| choice.starts_with(word.as_str()));
            let (Some(action), None) = (fits.next(), fits.next()) else {
                output::note("  that is none of them; `chainbot inbox` has the question");
                continue;
            };
            let path = format!("/inbox/{}/answer", segment(&id));
            self.client.post::<Value>(&path, &json!({ "action": action })).await?;
        }
        Ok(())
    }

    fn answer(&self, run: &RunView, shown: &Shown) -> Result<()> {
        if self.is_json {
            return output::json(&json!({ "thread": self.thread, "run": run }));
        }
        let result = run.output.as_ref().map(|output| match &output["result"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        if let Some(text) = result {
            let is_there = shown.is_open && shown.text.trim() == text.trim();
            if shown.is_open {
                output::line("")?;
            }
            return if is_there { Ok(()) } else { output::line(&printable(&text)) };
        }
        if shown.is_open {
            output::line("")?;
        }
        match &run.error {
            Some(error) => output::note(&format!("{}: {}", error.code, printable(&error.message))),
            None => output::note(&format!("task {} was {}", run.id, run.status.as_str())),
        }
        Ok(())
    }
}

impl Shown {
    /// What comes now begins anew.
    fn break_line(&mut self) -> Result<()> {
        if self.is_open {
            output::line("")?;
        }
        self.text.clear();
        self.is_open = false;
        Ok(())
    }
}

/// Waits for ever where nothing is heard.
async fn next_of(events: &mut Option<Events>) -> Option<Happened> {
    match events {
        Some(events) => events.next().await.ok().flatten(),
        None => std::future::pending().await,
    }
}
