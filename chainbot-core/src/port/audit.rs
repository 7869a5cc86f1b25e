//! The audit log as layers see it: what is written down of a change, by whom, and as it is read back.
//!
//! Nothing here does IO. The chain over the rows is the store's.

use crate::time::Timestamp;

use super::list::Way;

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Whoever holds the token of the data folder.
    Local,
    /// A user, by id.
    User(String),
    /// The machine itself.
    System,
    /// Somebody without a credential.
    Stranger,
}

impl Actor {
    /// As it is written down.
    pub fn as_text(&self) -> String {
        match self {
            Actor::Local => "local".to_owned(),
            Actor::User(id) => format!("user:{id}"),
            Actor::System => "system".to_owned(),
            Actor::Stranger => "stranger".to_owned(),
        }
    }
}

/// Declares the actions: each with its word.
macro_rules! actions {
    ($($name:ident = $word:literal, $doc:literal;)*) => {
        /// What was done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Action { $(#[doc = $doc] $name),* }

        impl Action {
            /// All of them.
            pub const ALL: &[Action] = &[$(Action::$name),*];

            /// As it is written down.
            pub fn as_str(self) -> &'static str {
                match self { $(Action::$name => $word),* }
            }
        }
    };
}

actions! {
    WorkflowCreate = "workflow.create", "A workflow was made.";
    WorkflowUpdate = "workflow.update", "It has a new version.";
    WorkflowRollback = "workflow.rollback", "An old version's content is the current one.";
    WorkflowDelete = "workflow.delete", "It was deleted.";
    WorkflowShare = "workflow.share", "Somebody else owns or sees it.";
    WorkflowEnable = "workflow.enable", "Triggers start it.";
    WorkflowDisable = "workflow.disable", "No trigger starts it.";
    TriggerEnable = "trigger.enable", "One trigger starts it.";
    TriggerDisable = "trigger.disable", "One trigger does not.";
    RunStart = "run.start", "A person started a run.";
    RunCancel = "run.cancel", "A run was asked to end.";
    RunPause = "run.pause", "A run is held.";
    RunResume = "run.resume", "It goes on.";
    RunSignal = "run.signal", "It was handed a signal.";
    RunRetry = "run.retry", "A failed run was taken up again.";
    RunFork = "run.fork", "A new run has its history.";
    RunDelete = "run.delete", "A finished run was forgotten.";
    InboxAnswer = "inbox.answer", "A question was answered.";
    AgentCreate = "agent.create", "An agent was made.";
    AgentUpdate = "agent.update", "It has a new definition.";
    AgentState = "agent.state", "It takes tasks again, or none any more.";
    AgentDelete = "agent.delete", "It was deleted.";
    SecretSet = "secret.set", "A secret has a new value.";
    SecretRemove = "secret.remove", "A secret is gone.";
    SecretRotate = "secret.rotate", "All secrets are sealed with a new key.";
    SecretExport = "secret.export", "A secret left in a file, under a passphrase.";
    SecretImport = "secret.import", "A secret came from such a file.";
    SigningRotate = "auth.rotate", "Access tokens are signed with a new key.";
    OutboxResend = "outbox.resend", "A message is sent again.";
    OutboxRemove = "outbox.remove", "A message was forgotten.";
    MemoryWrite = "memory.write", "A person wrote a block of an agent's memory.";
    MemoryForget = "memory.forget", "A person had an agent forget something, or all of it.";
    ArchiveImport = "archive.import", "Chats were imported into an archive.";
    ArchiveForget = "archive.forget", "An archive of chats was forgotten.";
    BackupMake = "backup.make", "A backup was ordered and is made, or failed.";
    BackupRestore = "backup.restore", "The database was put in place from a backup.";
    Setup = "account.setup", "The first account was made.";
    UserCreate = "user.create", "A user was made.";
    UserUpdate = "user.update", "A user has another role, or may come in or not.";
    UserRemove = "user.remove", "A user is gone.";
    UserPassword = "user.password", "A user has another password.";
    TokenCreate = "token.create", "An API token was made.";
    TokenRevoke = "token.revoke", "An API token is gone.";
    SignIn = "auth.sign_in", "Somebody signed in.";
    SignInRefused = "auth.refused", "Somebody was not let in.";
    SignOut = "auth.sign_out", "Logins ended.";
    RefreshReused = "auth.refresh_reused", "A spent refresh token came again, so its login has ended.";
    HostReport = "host.report", "The host reported something.";
    EventEmit = "event.emit", "Somebody emitted an event.";
    RequestRefused = "request.refused", "Requests without a valid credential were refused.";
    AuditDrop = "audit.drop", "Old segments of this log were dropped.";
}

/// What is written down of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// What was done.
    pub action: Action,
    /// Who did it.
    pub actor: Actor,
    /// On what sort of thing.
    pub target: &'static str,
    /// On which.
    pub target_id: String,
    /// The request it came with.
    pub request: Option<String>,
    /// blake3 of it before.
    pub before: Option<[u8; 32]>,
    /// blake3 of it after.
    pub after: Option<[u8; 32]>,
    /// More, as JSON. Never a secret.
    pub meta: Option<String>,
}

impl AuditEntry {
    /// Old segments, up to this one, were dropped: the log says so of itself.
    pub fn of_dropped(last: i64, at: Timestamp) -> Self {
        Self {
            at,
            action: Action::AuditDrop,
            actor: Actor::System,
            target: "audit_segment",
            target_id: last.to_string(),
            request: None,
            before: None,
            after: None,
            meta: None,
        }
    }
}

/// A row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// From 1, without a gap.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What was done.
    pub action: String,
    /// Who did it.
    pub actor: String,
    /// On what sort of thing.
    pub target: String,
    /// On which.
    pub target_id: String,
    /// The request it came with.
    pub request: Option<String>,
    /// blake3 of it before.
    pub before: Option<Vec<u8>>,
    /// blake3 of it after.
    pub after: Option<Vec<u8>>,
    /// More, as JSON.
    pub meta: Option<String>,
    /// Over the row before and all of this one.
    pub link: Vec<u8>,
}

/// A hundred rows that are complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSegment {
    /// From 0.
    pub number: i64,
    /// Of its first row.
    pub first_at: Timestamp,
    /// Of its last row.
    pub last_at: Timestamp,
    /// Of its last row.
    pub last_link: Vec<u8>,
    /// Over the seal before and all of this one but whether it was dropped.
    pub link: Vec<u8>,
    /// Whether its rows were dropped.
    pub is_dropped: bool,
}

/// The newest row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Its number; 0 when there is none.
    pub seq: i64,
    /// Its link.
    pub link: Vec<u8>,
}

/// Which rows a list shows.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only this action.
    pub action: Option<String>,
    /// Only by this one.
    pub actor: Option<String>,
    /// Only on this sort of thing.
    pub target: Option<String>,
    /// Only on this one.
    pub target_id: Option<String>,
    /// From then on.
    pub since: Option<Timestamp>,
    /// Up to then.
    pub until: Option<Timestamp>,
    /// By when they were written.
    pub way: Way,
    /// Past this one, in that order.
    pub past: Option<i64>,
    /// At most.
    pub limit: u32,
}

/// What a look at the whole log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditVerdict {
    /// Rows that are there.
    pub rows: u64,
    /// Rows that were dropped with their segments.
    pub dropped: u64,
    /// The newest row: to be noted elsewhere.
    pub head: AuditHead,
    /// What does not hold; empty when all is well.
    pub broken: Vec<AuditBreak>,
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditBreak {
    /// At which row.
    pub seq: i64,
    /// What.
    pub what: &'static str,
}
