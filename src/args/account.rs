//! The command line for users and API tokens.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Json, Place, Query};

/// `chainbot user`.
#[derive(Subcommand, Debug)]
pub enum UserView {
    /// Make a user; the password comes from a file, a pipe or the terminal
    Add(UserAdd),
    /// List users
    List(Query),
    /// Give a user another role, from the next request on
    Role(UserRole),
    /// Let a user in again
    Enable(OfUser),
    /// Let a user out: logins end, tokens are refused
    Disable(OfUser),
    /// Give a user a new password, and end all logins
    Password(UserPassword),
    /// Remove a user with all logins and tokens
    Remove(OfUser),
}

impl UserView {
    /// How.
    pub fn json(&self) -> Json {
        match self {
            UserView::Add(args) => args.json,
            UserView::List(args) => args.json,
            UserView::Role(args) => args.user.json,
            UserView::Enable(args) | UserView::Disable(args) | UserView::Remove(args) => args.json,
            UserView::Password(args) => args.user.json,
        }
    }
}

/// What a user may do.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum Role {
    /// Looks
    Viewer,
    /// Starts and steers runs, and answers
    Operator,
    /// Writes workflows and secrets as well
    Editor,
    /// Everything, accounts included
    Admin,
}

impl Role {
    /// The word in the API.
    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Editor => "editor",
            Role::Admin => "admin",
        }
    }
}

/// `chainbot user add`.
#[derive(Args, Debug)]
pub struct UserAdd {
    /// 1 to 63 of `a-z 0-9 . _ @ -`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What the user may do; the first user must be an admin
    #[arg(long, value_enum, value_name = "ROLE")]
    pub role: Role,
    /// Read the password from a file
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,
    /// What is read is a bcrypt hash that is taken over from elsewhere
    #[arg(long)]
    pub bcrypt: bool,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// A command about one user.
#[derive(Args, Debug)]
pub struct OfUser {
    /// The user: name or id
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot user role`.
#[derive(Args, Debug)]
pub struct UserRole {
    /// Whom.
    #[command(flatten)]
    pub user: OfUser,
    /// What the user may do
    #[arg(value_enum, value_name = "ROLE")]
    pub role: Role,
}

/// `chainbot user password`.
#[derive(Args, Debug)]
pub struct UserPassword {
    /// Whom.
    #[command(flatten)]
    pub user: OfUser,
    /// Read the password from a file
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,
}

/// `chainbot token`.
#[derive(Subcommand, Debug)]
pub enum TokenView {
    /// Make an API token; its text is shown once
    Create(TokenCreate),
    /// List API tokens, without their text
    List(Query),
    /// Revoke an API token; it is refused from the next request on
    Revoke(TokenRevoke),
    /// Sign access tokens with a new key from now on; API tokens stay as they are
    RotateKey(Query),
}

impl TokenView {
    /// How.
    pub fn json(&self) -> Json {
        match self {
            TokenView::Create(args) => args.json,
            TokenView::List(args) | TokenView::RotateKey(args) => args.json,
            TokenView::Revoke(args) => args.json,
        }
    }
}

/// `chainbot token create`.
#[derive(Args, Debug)]
pub struct TokenCreate {
    /// What uses it
    #[arg(value_name = "NAME")]
    pub name: String,
    /// For whom it acts; it never may more than that user
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// What it may do, such as chainbot:read or hook:NAME; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    pub scopes: Vec<String>,
    /// How many days it lives, at most 366
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    pub days: u64,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// `chainbot token revoke`.
#[derive(Args, Debug)]
pub struct TokenRevoke {
    /// The token's id, as the list shows it
    #[arg(value_name = "ID")]
    pub id: String,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// Examples of `user`.
pub const USER_HELP: &str = "\
On this machine no sign-in is needed: whoever reads the data folder's token may everything.

Examples:
  chainbot user add mia --role admin          asks for the password
  chainbot user role tom operator
  chainbot user password mia --from-file new.txt";

/// Examples of `token`.
pub const TOKEN_HELP: &str = "\
Scopes: chainbot:read, metrics:read, chainbot:workflow:execute, chainbot:workflow:create,
chainbot:workflow:delete, chainbot:trigger, chainbot:hook, chainbot:outbox, chainbot:gpio,
chainbot:secret, chainbot:backup, chainbot:audit, chainbot:admin, and hook:NAME for one webhook.

Examples:
  chainbot token create prometheus --user mia --scope metrics:read --days 366
  chainbot token create doorbell --user mia --scope hook:bell
  chainbot token revoke 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00";
