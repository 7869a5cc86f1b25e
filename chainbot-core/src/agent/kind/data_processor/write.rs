//! `write`: rows as the result, within the bound of a result.

use serde_json::Value;

use crate::error::code::data as code;
use crate::expr::{Data, csv_text, size_bytes};
use crate::limits::DATA_OUTPUT_BYTES_MAX;
use crate::model::{StepError, class};

/// How rows are written.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) form: Form,
    /// Of CSV, in their order; empty: those of the last operation that names them, else by name.
    pub(super) columns: Vec<String>,
    pub(super) delimiter: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A list.
    Value,
    Csv,
    /// JSON text.
    Json,
    /// A line of JSON each.
    Jsonl,
}

/// What is written so far.
pub(super) struct Output<'p> {
    write: &'p Write,
    rows: Vec<Value>,
    bytes: usize,
    text: String,
    pub(super) written: u64,
}

impl<'p> Output<'p> {
    pub(super) fn new(write: &'p Write) -> Self {
        Self { write, rows: Vec::new(), bytes: 2, text: String::new(), written: 0 }
    }

    pub(super) fn push(&mut self, row: Data) -> Result<(), StepError> {
        let row = row.into_json();
        self.bytes += size_bytes(&row) + 1;
        if self.bytes > DATA_OUTPUT_BYTES_MAX {
            return Err(too_large());
        }
        self.written += 1;
        match self.write.form {
            Form::Value | Form::Csv => self.rows.push(row),
            Form::Json | Form::Jsonl => {
                if self.written > 1 {
                    self.text.push_str(if self.write.form == Form::Json { "," } else { "\n" });
                }
                self.text.push_str(&row.to_string());
                // Control characters take more than they are counted for.
                if self.text.len() > DATA_OUTPUT_BYTES_MAX {
                    return Err(too_large());
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Value, StepError> {
        match self.write.form {
            Form::Value => Ok(Value::Array(self.rows)),
            Form::Json => Ok(Value::String(format!("[{}]", self.text))),
            Form::Jsonl => Ok(Value::String(self.text)),
            Form::Csv => {
                let rows: Vec<Data> = self.rows.into_iter().map(Data::new).collect();
                let text = csv_text(&rows, &self.write.columns, self.write.delimiter)
                    .map_err(|error| super::column::unfit(format!("`write`: {error}")))?;
                Ok(Value::String(text))
            }
        }
    }
}

fn too_large() -> StepError {
    let message = format!(
        "the result is larger than {DATA_OUTPUT_BYTES_MAX} bytes of JSON; aggregate, select fewer columns, or `limit` the rows"
    );
    StepError::new(class::LIMIT, &code::BOUND, message)
}
