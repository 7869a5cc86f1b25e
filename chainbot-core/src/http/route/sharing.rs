//! Whose a workflow or an agent is, and who sees it besides.

use std::sync::Arc;

use axum::extract::State;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::workflows::show;
use crate::error::code::{account, general};
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::body::Fields;
use crate::http::problem::Answer;
use crate::http::request::{Call, printable};
use crate::limits::ACCOUNT_NAME_BYTES_MAX;
use crate::port::Role;
use crate::runtime::Sharing;

/// Whose it is from here on. What is not named stays as it is.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the OpenAPI document; the fields are read one by one")]
struct SharingBody {
    /// The least role that sees and uses it: `viewer`, `operator` or `editor`; null is nobody but the owner and admins.
    #[schema(required = false)]
    shared: Option<String>,
    /// Another owner, by an admin: a user's name or id; null is the operator.
    #[schema(required = false)]
    owner: Option<String>,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(share)).routes(routes!(share_agent))
}

/// Shares a workflow with a role, or with nobody; an admin may give it to somebody else. Its runs go with it
#[utoipa::path(patch, path = "/api/chainbot/workflows/{id}/sharing", tag = "workflows",
    params(("id" = String, Path, description = "Id or name")),
    request_body(content = SharingBody, example = json!({ "shared": "operator" })),
    responses(
        (status = 200, description = "The workflow", body = crate::http::view::Workflow,
            headers(("ETag", description = "Of this version"))),
        (status = 403, description = "It is shared with the caller and not theirs, or the caller gives it away and is no admin"),
        (status = 404, description = "There is no such workflow, or no such user"),
        (status = 422, description = "There is no such role")))]
async fn share(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let asked = asked(&mut call).await?;
    let engine = call.engine(&shared)?;
    let (people, reference) = (engine.people()?, call.path("id")?);
    if asked.gives && !people.scope().is_whole() {
        people.workflow(reference).await?;
        return Err(not_given().into());
    }
    Ok(show(people.share_workflow(reference, asked.resolved(&shared)?).await?)?)
}

/// Shares an agent with a role, or with nobody; an admin may give it to somebody else. Its tasks go with it, conversations stay their makers'
#[utoipa::path(patch, path = "/api/chainbot/agents/{id}/sharing", tag = "agents",
    params(("id" = String, Path, description = "Id or name")),
    request_body(content = SharingBody, example = json!({ "shared": "operator" })),
    responses(
        (status = 200, description = "The agent", body = super::agents::Agent, headers(("ETag", description = "Of this definition"))),
        (status = 403, description = "It is shared with the caller and not theirs, or the caller gives it away and is no admin"),
        (status = 404, description = "There is no such agent, or no such user"),
        (status = 422, description = "There is no such role")))]
async fn share_agent(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let asked = asked(&mut call).await?;
    let engine = call.engine(&shared)?;
    let (people, reference) = (engine.people()?, call.path("id")?);
    if asked.gives && !people.scope().is_whole() {
        people.agent(reference).await?;
        return Err(not_given().into());
    }
    Ok(super::agents::show(people.share_agent(reference, asked.resolved(&shared)?).await?)?)
}

/// What a body asks for.
struct Asked {
    shared: Option<Option<Role>>,
    owner: Option<Option<String>>,
    /// Somebody else is to have it.
    gives: bool,
}

impl Asked {
    /// With the name of a user looked up: after it is known that the caller may know whether there is one.
    fn resolved(self, shared: &Shared) -> Result<Sharing> {
        let owner = match self.owner {
            None => None,
            Some(name) => Some(name.map(|name| shared.accounts.user(&name)).transpose()?.map(|user| user.id)),
        };
        Ok(Sharing { owner, shared: self.shared })
    }
}

async fn asked(call: &mut Call) -> Result<Asked> {
    let mut fields = call.fields(&["shared", "owner"]).await?;
    let shared =
        given(&mut fields, "shared")?.map(|word| word.as_deref().map(role).transpose()).transpose()?;
    let owner = given(&mut fields, "owner")?;
    Ok(Asked { shared, gives: owner.is_some(), owner })
}

fn not_given() -> Error {
    Error::new(&account::NOT_OWNER, "only an admin gives it to somebody else").help("ask an admin")
}

/// A field that may be null, which is not the same as absent.
fn given(fields: &mut Fields, name: &str) -> Result<Option<Option<String>>> {
    match fields.given(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::String(text)) if text.len() <= ACCOUNT_NAME_BYTES_MAX => Ok(Some(Some(text))),
        Some(_) => Err(Error::new(&general::FIELD, format!("`{name}` is neither a short text nor null"))
            .help("see the OpenAPI document")),
    }
}

fn role(word: &str) -> Result<Role> {
    let known = [Role::Viewer, Role::Operator, Role::Editor];
    Role::parse(word).filter(|role| known.contains(role)).ok_or_else(|| {
        Error::new(&account::VALUE, format!("it cannot be shared with `{}`", printable(word)))
            .help("share it with viewer, operator or editor, or with null; admins see everything")
    })
}
