//! The tools of an `api` agent: offered from its configuration, carried out by the executor of `api_call`.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::compile::Client;
use super::rate::Rates;
use crate::agent::tool::request::{answered, effect};
use crate::agent::tool::{ToolFamily, ToolFuture, ToolOutcome, ToolOwner, ToolRequest};
use crate::env::Env;
use crate::error::code::tool as code;
use crate::error::{Diagnostic, Result as CoreResult};
use crate::model::{StepError, ToolSpec, class};
use crate::step::Executors;

/// The family `api`; its grant is the agent's configuration.
pub struct ApiTools {
    executors: Arc<Executors>,
    env: Env,
    rates: Rates,
}

impl ApiTools {
    /// Requests go out through the executors.
    pub fn new(executors: Arc<Executors>, env: Env) -> Self {
        Self { executors, env, rates: Rates::default() }
    }

    async fn carry_out(&self, request: &ToolRequest) -> Result<ToolOutcome, StepError> {
        let client = compiled(&request.grant)?;
        let Some(operation) = client.operation(&request.spec.operation) else {
            let message =
                format!("the agent may not use the operation `{}` any more", request.spec.operation);
            return Ok(ToolOutcome::error(message));
        };
        let mut input: Map<String, Value> = match operation.request(&client.base_url, &request.arguments) {
            Ok(input) => input,
            Err(message) => return Ok(ToolOutcome::error(message)),
        };
        if let Some(rate) = client.rate
            && let Err(wait) = self.rates.take(request.owner.agent, rate, self.env.monotonic())
        {
            let message = format!(
                "this API takes no more requests for {} s; do something else first",
                wait.as_secs() + 1
            );
            return Ok(ToolOutcome::error(message));
        }
        if let Some(credential) = &client.credential {
            credential.add_to(&mut input);
        }
        if let Some(Value::Object(headers)) = input.get_mut("headers") {
            for (name, value) in &client.headers {
                headers.entry(name).or_insert_with(|| value.clone());
            }
        }
        input.insert("max_bytes".to_owned(), json!(client.max_bytes));
        answered(self.executors.execute(effect(input, request)).await)
    }
}

fn compiled(grant: &Value) -> Result<Client, StepError> {
    Client::compile(grant).map_err(|problems| {
        let said: Vec<String> = problems.iter().take(3).map(said).collect();
        StepError::new(class::INVALID, &code::API, said.join("; "))
    })
}

fn said(problem: &Diagnostic) -> String {
    match &problem.hint {
        Some(hint) => format!("{}: {}; {hint}", problem.path, problem.message),
        None => format!("{}: {}", problem.path, problem.message),
    }
}

impl ToolFamily for ApiTools {
    fn family(&self) -> &'static str {
        "api"
    }

    fn offers<'a>(&'a self, grant: &'a Value, _: &'a ToolOwner) -> ToolFuture<'a, Vec<ToolSpec>> {
        Box::pin(async move { Ok(compiled(grant)?.tools()) })
    }

    fn call<'a>(&'a self, request: &'a ToolRequest) -> ToolFuture<'a, ToolOutcome> {
        Box::pin(self.carry_out(request))
    }
}

/// Not used by the family, but by whoever checks a configuration before it is stored.
impl Client {
    /// As [`Client::compile`], with all problems in one error.
    pub fn check(config: &Value) -> CoreResult<Self> {
        Self::compile(config).map_err(|problems| {
            crate::Error::new(
                &code::API,
                format!("{} problems in the configuration of the API", problems.len()),
            )
            .diagnostics_of(problems)
        })
    }
}
