//! What a model answered, in our words.

/// One whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelReply {
    /// As it came: blanks at both ends are kept.
    pub text: String,
    /// In the order in which they came. They count whatever [`stop`](Self::stop) says.
    pub calls: Vec<ToolCall>,
    /// Why it ended.
    pub stop: Stop,
    /// What it cost.
    pub usage: Usage,
    /// The model as the server named it, or as it was asked for.
    pub model: String,
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// The server's, or made here where it gave none; unique in a reply.
    pub id: String,
    /// Whatever the model wrote; nobody has checked it.
    pub name: String,
    /// Raw text, checked by nobody. Empty text of the server is `{}`.
    pub arguments: String,
}

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model was done.
    End,
    /// The bound of the reply was reached: the text may end in the middle.
    MaxOutput,
    /// The server withheld the rest.
    Filtered,
}

/// Tokens of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt, cached ones included.
    pub input: u64,
    /// Of those, the ones that the server had already.
    pub cached: u64,
    /// Of the reply.
    pub output: u64,
    /// Whether the server said so; else it is an estimate that errs high.
    pub is_reported: bool,
}

/// A piece of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// More text.
    Text(String),
    /// A call began: its name as far as it is known.
    Call(String),
    /// More of the arguments of the last call, as so many bytes.
    Arguments(usize),
    /// What came so far is void: the call is made again.
    Again,
}
