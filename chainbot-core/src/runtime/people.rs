//! What people may ask of runs under way, as the handle offers it: pause, resume, answer a question.

use serde_json::Value;

use crate::engine::{Answer, CANCEL_TIMER_SEQ, Input};
use crate::error::code::run as run_code;
use crate::error::{Error, Result};
use crate::expr;
use crate::id::InboxId;
use crate::id::RunId;
use crate::limits;
use crate::model::inbox::{DONE, FAIL, RETRY};
use crate::model::{Json, RunView};
use crate::port::{Action, InboxAnswer, InboxKind, Op, StoredQuestion};

use super::cell::Mail;
use super::handle::Handle;
use super::who::{Deed, written_down};

/// The timer row that wakes a run that was held: nothing else would, if the process ends right after the answer. It stays
/// until the run is over and wakes it once at each start, which is harmless. Like a cancel's, no record has its number.
const WAKE_TIMER_SEQ: u32 = CANCEL_TIMER_SEQ - 1;

/// A person's answer to a question.
#[derive(Clone, Debug)]
pub struct NewAnswer {
    /// One of the question's choices.
    pub action: String,
    /// What goes with it: an approval's remark, the output of a step that is taken for done, why it fails.
    pub data: Value,
    /// Who answers.
    pub by: Option<String>,
}

impl Handle {
    /// Lets what is under way end and begins nothing new. To pause twice is to pause once.
    pub async fn pause(&self, id: RunId, reason: &str) -> Result<RunView> {
        self.check_turn(id).await?;
        self.ask(id, Input::Pause { reason: reason.to_owned() }).await
    }

    /// Lets a paused run go on. One that is not paused is left as it is.
    pub async fn resume(&self, id: RunId) -> Result<RunView> {
        self.check_turn(id).await?;
        self.ask(id, Input::Unpause).await
    }

    /// A run that was taken up again and waits for its turn is paused by nobody, and goes on by itself.
    async fn check_turn(&self, id: RunId) -> Result<()> {
        self.check_run(id).await?;
        match self.0.gates.holds(id) {
            false => Ok(()),
            true => Err(Error::new(
                &run_code::CONCURRENCY,
                format!("run {id} waits for its turn, because its workflow's `concurrency` lets no more in"),
            )
            .help("it goes on when a run before it ends; cancel it, or one of those")),
        }
    }

    /// A question, answered or not. CB-0342 when there is none.
    pub async fn question(&self, id: InboxId) -> Result<StoredQuestion> {
        let scope = self.1;
        let found = self.0.read(move |runtime| runtime.store.question(&scope, id)).await?;
        found.ok_or_else(|| {
            Error::new(&run_code::QUESTION, format!("there is no question {id}"))
                .help("GET /api/chainbot/inbox lists those that are open")
        })
    }

    /// Answers a question; durable when this returns. The same answer again changes nothing; another one is CB-0340.
    pub async fn answer(&self, id: InboxId, answer: NewAnswer) -> Result<StoredQuestion> {
        self.0.check_open()?;
        // Two answers at once follow each other, so that the second meets the first.
        let _guard = self.0.lock_key(&format!("answer {id}")).await;
        let question = self.question(id).await?;
        if let Some(given) = &question.answer {
            return if is_same(given, &answer) { Ok(question) } else { Err(answered(given)) };
        }
        check(&question, &answer)?;
        if question.kind == InboxKind::Poison.as_str() {
            self.answer_poison(&question, answer).await?;
            return self.question(id).await;
        }
        let data = Json::new(answer.data.clone());
        let (action, by) = (answer.action.clone(), answer.by.clone());
        let asked = self.ask(question.run, Input::Answer(Answer { question: id, action, data, by })).await;
        match asked {
            Ok(_) => self.question(id).await,
            // The step's time may have run out a moment before.
            Err(error) if error.code() == &run_code::FINISHED => Err(Error::new(
                &run_code::QUESTION,
                format!("the question {id} is no longer asked: {}", error.message()),
            )
            .help("look at the run: GET /api/chainbot/runs/{id}")),
            Err(error) => Err(error),
        }
    }

    /// A run over which processes died: tried once more, or ended.
    async fn answer_poison(&self, question: &StoredQuestion, answer: NewAnswer) -> Result<()> {
        if answer.action == FAIL {
            let reason = answer.data.as_str().unwrap_or("a person ended the run that was held");
            // Kept first: the end of the run closes what is still open.
            self.keep_answer(question, &answer, CANCEL_TIMER_SEQ).await?;
            return self.cancel(question.run, reason).await.map(|_| ());
        }
        self.keep_answer(question, &answer, WAKE_TIMER_SEQ).await?;
        self.0.poison.forgive(question.run);
        self.0.deliver(question.run, Mail::Input(Input::Tick));
        Ok(())
    }

    /// `then`: the timer row by which a next process does what the answer asks for, should this one end before.
    async fn keep_answer(&self, question: &StoredQuestion, answer: &NewAnswer, then: u32) -> Result<()> {
        let said = answer;
        let NewAnswer { action, data, by } = answer.clone();
        let (id, data, at) = (question.id, Json::new(data), self.0.env.now());
        let answer = Op::InboxAnswer(InboxAnswer { id, action, data, by, at });
        let deed = Deed::new(Action::InboxAnswer, "question", id)
            .with(serde_json::json!({ "run": question.run, "action": said.action, "by": said.by }));
        let ops = [
            Some(answer),
            Some(Op::TimerSet { run: question.run, seq: then, due: at }),
            written_down(at, deed),
        ];
        self.0.write(ops.into_iter().flatten().collect()).await
    }
}

fn is_same(given: &InboxAnswer, answer: &NewAnswer) -> bool {
    given.action == answer.action && *given.data == answer.data && given.by == answer.by
}

fn answered(given: &InboxAnswer) -> Error {
    let by = given.by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
    Error::new(&run_code::ANSWERED, format!("it was answered `{}`{by} at {}", given.action, given.at))
        .help("an answer cannot be changed; look at what the run did with it")
}

/// Whether the question takes the answer.
fn check(question: &StoredQuestion, answer: &NewAnswer) -> Result<()> {
    let words = |name: &str| -> Vec<&str> {
        let list = question.question.get(name).and_then(Value::as_array);
        list.map_or_else(Vec::new, |list| list.iter().filter_map(Value::as_str).collect())
    };
    let refuse = |message: String, help: String| Err(Error::new(&run_code::ANSWER, message).help(help));
    let choices = words("choices");
    if !choices.contains(&answer.action.as_str()) {
        let help = format!("answer with one of: {}", choices.join(", "));
        return refuse(format!("the question does not take `{}`", answer.action), help);
    }
    let approvers = words("approvers");
    if !approvers.is_empty() && !answer.by.as_deref().is_some_and(|by| approvers.contains(&by)) {
        let help = format!("say who answers with `by`, one of: {}", approvers.join(", "));
        return refuse("the question is for named people only".to_owned(), help);
    }
    let is_uncertain = question.kind == InboxKind::Uncertain.as_str();
    if is_uncertain && answer.action == RETRY && !answer.data.is_null() {
        let help = "a retry sends what was sent before, with the same key".to_owned();
        return refuse("`retry` takes no data".to_owned(), help);
    }
    let bytes_max = match is_uncertain && answer.action == DONE {
        true => limits::STEP_OUTPUT_BYTES_MAX,
        false => limits::ANSWER_BYTES_MAX,
    };
    expr::check_json(&answer.data, bytes_max)
        .map_err(|error| Error::new(&run_code::ANSWER, format!("the answer's data: {}", error.message)))
}
