//! Finds where each conversation begins and ends in a stream of JSON, and holds the bytes of one.
//!
//! It knows strings and brackets and nothing else of JSON; what is between them is for [`super::read`] to refuse.

use super::Format;
use crate::error::{Error, Result, code::memory as code};
use crate::limits;

/// What was found.
pub enum Found<'a> {
    /// The bytes of a conversation.
    Conversation(&'a [u8]),
    /// One over its bound.
    TooLarge,
}

/// Where the stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Before anything.
    Start,
    /// In an object, whose keys are looked at.
    Object,
    /// In the list of conversations.
    List,
    /// In a conversation.
    Conversation,
    /// In something else of the object.
    Other,
    /// After everything.
    End,
}

/// The state.
pub struct Cut {
    place: Place,
    format: Format,
    /// Bytes read before this piece.
    offset: u64,
    /// Brackets open since the conversation, or the other thing, began.
    depth: u32,
    in_text: bool,
    is_escaped: bool,
    /// Of the object's current key, or the conversation.
    held: Vec<u8>,
    is_too_large: bool,
    has_list: bool,
}

impl Default for Cut {
    fn default() -> Self {
        Self {
            place: Place::Start,
            format: Format::Chatgpt,
            offset: 0,
            depth: 0,
            in_text: false,
            is_escaped: false,
            held: Vec::new(),
            is_too_large: false,
            has_list: false,
        }
    }
}

/// A key of the object that is longer is not the one we look for.
const KEY_BYTES_MAX: usize = 64;

impl Cut {
    /// The next piece.
    pub fn push(&mut self, bytes: &[u8], found: &mut dyn FnMut(Format, Found<'_>)) -> Result<()> {
        for (index, byte) in bytes.iter().enumerate() {
            self.byte(*byte, self.offset + index as u64, found)?;
        }
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// After the last piece.
    pub fn end(&self) -> Result<()> {
        match self.place {
            Place::End => Ok(()),
            Place::Start => Err(wrong("the file is empty")),
            _ => Err(wrong(format!("the file ends early, at byte {}", self.offset))),
        }
    }

    fn byte(&mut self, byte: u8, at: u64, found: &mut dyn FnMut(Format, Found<'_>)) -> Result<()> {
        match self.place {
            Place::Start => self.start(byte, at),
            Place::Object => self.in_object(byte, at),
            Place::List => self.in_list(byte, at, found),
            Place::Conversation | Place::Other => {
                self.inside(byte, found);
                Ok(())
            }
            Place::End if byte.is_ascii_whitespace() => Ok(()),
            Place::End => Err(wrong(format!("there is something after the end, at byte {at}"))),
        }
    }

    fn start(&mut self, byte: u8, at: u64) -> Result<()> {
        match byte {
            b'[' => (self.place, self.format, self.has_list) = (Place::List, Format::Chatgpt, true),
            b'{' => (self.place, self.format) = (Place::Object, Format::Chainbot),
            b'P' if at == 0 => {
                return Err(Error::new(&code::EXPORT, "the file is a zip archive")
                    .help("unpack it and give `conversations.json`"));
            }
            // A mark of the encoding, as some editors write it.
            0xEF | 0xBB | 0xBF if at < 3 => {}
            byte if byte.is_ascii_whitespace() => {}
            _ => {
                return Err(wrong(format!("the file does not begin with a list or an object, at byte {at}")));
            }
        }
        Ok(())
    }

    /// Keys and their values; only a list under `conversations` is looked into.
    fn in_object(&mut self, byte: u8, at: u64) -> Result<()> {
        if self.in_text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_text = false,
                _ if self.held.len() < KEY_BYTES_MAX => self.held.push(byte),
                _ => {}
            }
            return Ok(());
        }
        match byte {
            b'"' => {
                self.in_text = true;
                self.held.clear();
            }
            b'[' if self.held == b"conversations" => (self.place, self.has_list) = (Place::List, true),
            b'[' | b'{' => (self.place, self.depth) = (Place::Other, 1),
            b'}' if self.has_list => self.place = Place::End,
            b'}' => return Err(wrong(format!("the object has no `conversations`, at byte {at}"))),
            b']' => return Err(wrong(format!("a bracket is closed that was not open, at byte {at}"))),
            _ => {}
        }
        Ok(())
    }

    fn in_list(&mut self, byte: u8, at: u64, found: &mut dyn FnMut(Format, Found<'_>)) -> Result<()> {
        match byte {
            b'{' => {
                (self.place, self.depth, self.is_too_large) = (Place::Conversation, 0, false);
                self.held.clear();
                self.inside(byte, found);
            }
            b']' => {
                self.place = if self.format == Format::Chatgpt { Place::End } else { Place::Object };
                self.held.clear();
            }
            b',' => {}
            byte if byte.is_ascii_whitespace() => {}
            _ => return Err(wrong(format!("a conversation is an object, at byte {at}"))),
        }
        Ok(())
    }

    fn inside(&mut self, byte: u8, found: &mut dyn FnMut(Format, Found<'_>)) {
        let is_held = self.place == Place::Conversation && !self.is_too_large;
        if is_held && self.held.len() >= limits::ARCHIVE_CONVERSATION_BYTES_MAX {
            self.is_too_large = true;
            // Given back: the next ones are smaller.
            self.held = Vec::new();
        } else if is_held {
            self.held.push(byte);
        }
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.in_text => self.is_escaped = true,
            b'"' => self.in_text = !self.in_text,
            b'{' | b'[' if !self.in_text => self.depth += 1,
            b'}' | b']' if !self.in_text => self.depth -= 1,
            _ => {}
        }
        if self.depth > 0 || self.in_text {
            return;
        }
        if self.place == Place::Other {
            self.place = Place::Object;
            self.held.clear();
            return;
        }
        self.place = Place::List;
        match self.is_too_large {
            true => found(self.format, Found::TooLarge),
            false => found(self.format, Found::Conversation(&self.held)),
        }
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(&code::EXPORT, message)
        .help("give `conversations.json` of an export of ChatGPT, or a file of ChainBot with `conversations`")
}
