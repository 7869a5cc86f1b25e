//! Arguments of calls as a check wants them, right or wrong, and how they are lent.

use chainbot_abi::{Event, Str, WebhookRequest};

use super::pages::Loan;

/// A text or bytes of an argument.
#[derive(Clone, Debug)]
pub enum Field {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A null pointer with this length.
    Null(usize),
}

impl Field {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Field::Bytes(text.into().into_bytes())
    }

    /// Lends it.
    pub fn lend(&self, loan: &mut Loan) -> Str {
        match self {
            Field::Bytes(bytes) => loan.bytes(bytes),
            Field::Null(len) => Str { ptr: std::ptr::null(), len: *len },
        }
    }

    /// For the record of calls.
    pub fn show(&self) -> String {
        match self {
            Field::Bytes(bytes) => String::from_utf8_lossy(bytes).escape_debug().take(120).collect(),
            Field::Null(len) => format!("(null, {len})"),
        }
    }
}

/// The wrong texts that every text field refuses.
pub fn wrong_texts() -> [(&'static str, Field); 4] {
    [
        ("a null pointer with a length", Field::Null(3)),
        ("a lone continuation byte", Field::Bytes(b"a\x80b".to_vec())),
        ("a surrogate", Field::Bytes(b"\xed\xa0\x80".to_vec())),
        ("a character that is cut off", Field::Bytes(b"abc\xe2\x82".to_vec())),
    ]
}

/// An event to hand over.
#[derive(Clone, Debug)]
pub struct EventArgs {
    /// Added to the true size.
    pub size_off: i32,
    /// As in the ABI.
    pub flags: u32,
    /// As in the ABI.
    pub topic: Field,
    /// As in the ABI.
    pub payload: Field,
    /// As in the ABI.
    pub id: Field,
    /// As in the ABI.
    pub trace: Field,
}

impl EventArgs {
    /// A right one.
    pub fn new(topic: &str, payload: &str) -> Self {
        let empty = Field::Null(0);
        Self {
            size_off: 0,
            flags: 0,
            topic: Field::text(topic),
            payload: Field::text(payload),
            id: empty.clone(),
            trace: empty,
        }
    }

    /// Lends it.
    pub fn lend(&self, loan: &mut Loan) -> *const Event {
        let event = Event {
            struct_size: size_of::<Event>().wrapping_add_signed(self.size_off as isize) as u32,
            flags: self.flags,
            topic: self.topic.lend(loan),
            payload: self.payload.lend(loan),
            id: self.id.lend(loan),
            trace: self.trace.lend(loan),
            unix_ns: crate::host::unix_ns(),
        };
        loan.value(event)
    }

    /// For the record of calls.
    pub fn show(&self) -> String {
        let fields = [("id", &self.id), ("trace", &self.trace), ("payload", &self.payload)];
        let rest: Vec<_> = fields.iter().map(|(name, field)| format!("{name}={}", field.show())).collect();
        format!("topic={} {}", self.topic.show(), rest.join(" "))
    }
}

/// A request to hand over.
#[derive(Clone, Debug)]
pub struct RequestArgs {
    /// Added to the true size.
    pub size_off: i32,
    /// As in the ABI.
    pub timeout_ms: u32,
    /// As in the ABI.
    pub method: Field,
    /// As in the ABI.
    pub path: Field,
    /// As in the ABI.
    pub mount: Field,
    /// As in the ABI.
    pub peer: Field,
    /// As in the ABI.
    pub headers: Field,
    /// As in the ABI.
    pub body: Field,
    /// As in the ABI.
    pub trace: Field,
}

impl RequestArgs {
    /// A right one.
    pub fn new(method: &str, path: &str) -> Self {
        let empty = Field::Null(0);
        Self {
            size_off: 0,
            timeout_ms: 1_000,
            method: Field::text(method),
            path: Field::text(path),
            mount: empty.clone(),
            peer: Field::text("192.0.2.1"),
            headers: Field::text(r#"{"accept":"*/*","host":"localhost"}"#),
            body: empty.clone(),
            trace: empty,
        }
    }

    /// Lends it.
    pub fn lend(&self, loan: &mut Loan) -> *const WebhookRequest {
        let request = WebhookRequest {
            struct_size: size_of::<WebhookRequest>().wrapping_add_signed(self.size_off as isize) as u32,
            timeout_ms: self.timeout_ms,
            method: self.method.lend(loan),
            path: self.path.lend(loan),
            mount: self.mount.lend(loan),
            peer: self.peer.lend(loan),
            headers: self.headers.lend(loan),
            body: self.body.lend(loan),
            trace: self.trace.lend(loan),
        };
        loan.value(request)
    }

    /// For the record of calls.
    pub fn show(&self) -> String {
        let (method, path, headers, body) =
            (self.method.show(), self.path.show(), self.headers.show(), self.body.show());
        format!("{method} {path} headers={headers} body={body}")
    }
}
