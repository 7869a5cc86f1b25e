//! From a name to a pinned model: what the configuration says, and how it calls tools, which it is asked once where nobody said.

use super::counted::Counted;
use super::{ModelSetup, Models, Pinned, ProviderKind, Table};
use crate::agent::dialect::Dialect;
use crate::agent::probe::{Probe, probe};
use crate::agent::provider::{CallLimits, ModelError, ModelErrorClass};
use crate::port::{Op, StoredProbe};

/// What a model must be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Answer.
    Text,
    /// Call tools: it is asked how, once, where the configuration does not say.
    Tools,
}

impl Models {
    /// Whether a name stands for a model, and its own name. Class `model_unknown` says which there are.
    pub fn find(&self, name: &str) -> Result<String, ModelError> {
        self.table().model(name).map(|model| model.name.clone())
    }

    /// Pins a model. Class `model_unknown`: nobody configured it; `model_incapable`: it cannot call tools; another class: it had to be asked, and its
    /// server failed.
    pub async fn resolve(&self, name: &str, needs: Needs) -> Result<Pinned, ModelError> {
        let table = self.table();
        let model = table.model(name)?;
        let dialect = match (model.dialect, needs) {
            (Some(dialect), _) => dialect,
            (None, Needs::Text) => Dialect::Native,
            (None, Needs::Tools) => self.asked(&table, model).await?,
        };
        let dialect = match dialect {
            Dialect::Native if model.salvage => Dialect::Text,
            other => other,
        };
        Ok(Pinned {
            name: model.name.clone(),
            provider: model.provider.clone(),
            model: model.model.clone(),
            dialect,
            context: model.context,
            max_output: model.max_output,
            price: model.price,
            temperature: model.temperature,
            after_result: model.after_result,
        })
    }

    /// Asks a model how it calls tools, whatever is known of it.
    pub async fn probe(&self, name: &str) -> Result<StoredProbe, ModelError> {
        let table = self.table();
        let model = table.model(name)?;
        if table.server(&model.provider)?.setup.kind == ProviderKind::Scripted {
            let message = format!("`{}` is a script, and questions would use its turns up", model.name);
            return Err(ModelError::new(ModelErrorClass::Incapable, message));
        }
        let _place = self.probing.acquire().await.map_err(|_| closed())?;
        self.ask(&table, model).await
    }

    /// Whether a model is being asked.
    pub fn is_probing(&self) -> bool {
        self.probing.available_permits() == 0
    }

    async fn asked(&self, table: &Table, model: &ModelSetup) -> Result<Dialect, ModelError> {
        if table.server(&model.provider)?.setup.kind == ProviderKind::Scripted {
            // A script says what it says; questions would use its turns up.
            return Ok(Dialect::Native);
        }
        let found = match self.known(table, model) {
            Some(found) => found,
            None => {
                let _place = self.probing.acquire().await.map_err(|_| closed())?;
                // Somebody may have asked meanwhile.
                match self.known(table, model) {
                    Some(found) => found,
                    None => self.ask(table, model).await?,
                }
            }
        };
        dialect_of(&found).ok_or_else(|| {
            let message = format!(
                "`{}` was asked and made {} right calls of 4 in its own words and {} held to a schema; \
                 choose another model, or force a way with `dialect`",
                model.name, found.native, found.schema
            );
            ModelError::new(ModelErrorClass::Incapable, message)
        })
    }

    pub(super) fn known(&self, table: &Table, model: &ModelSetup) -> Option<StoredProbe> {
        let of = identity(table, model)?;
        self.found.lock().get(&model.name).filter(|found| found.of == of).cloned()
    }

    async fn ask(&self, table: &Table, model: &ModelSetup) -> Result<StoredProbe, ModelError> {
        let server = table.server(&model.provider)?;
        let provider = server.provider(self)?;
        let limits = CallLimits {
            first: server.setup.limits.first,
            silence: server.setup.limits.silence,
            ..CallLimits::default()
        };
        let _asked = Asked::begin(self, &model.name);
        let counted = Counted { models: self, inner: provider.as_ref(), setup: model };
        let Probe { native, native_required, required_ignored, schema, counts_tokens } =
            probe(&counted, &model.model, &limits).await?;
        let found = StoredProbe {
            model: model.name.clone(),
            of: identity(table, model).unwrap_or_default(),
            at: self.env.now(),
            native,
            native_required,
            required_ignored,
            schema,
            counts_tokens,
        };
        self.found.lock().insert(model.name.clone(), found.clone());
        if let Some(store) = &self.store {
            let ops = vec![Op::ProbePut(Box::new(found.clone()))];
            if let Err(error) = crate::store::commit(store.as_ref(), ops).await {
                // It holds all the same; after a restart the model is asked again.
                log::error!("what model `{}` was found to be able to do is not stored: {error}", model.name);
            }
        }
        Ok(found)
    }
}

/// Says which model is being asked, as long as it is.
struct Asked<'a>(&'a Models);

impl<'a> Asked<'a> {
    fn begin(models: &'a Models, name: &str) -> Self {
        *models.probed.lock() = Some(name.to_owned());
        Self(models)
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        *self.0.probed.lock() = None;
    }
}

/// The way that a stored probe speaks for.
pub(super) fn dialect_of(found: &StoredProbe) -> Option<Dialect> {
    let StoredProbe { native, native_required, required_ignored, schema, counts_tokens, .. } = *found;
    Probe { native, native_required, required_ignored, schema, counts_tokens }.dialect()
}

/// What a probe's result is of.
fn identity(table: &Table, model: &ModelSetup) -> Option<String> {
    let setup = &table.servers.get(&model.provider)?.setup;
    Some(format!("{} {} {}", setup.kind, setup.base_url, model.model))
}

fn closed() -> ModelError {
    ModelError::new(ModelErrorClass::Cancelled, "the models are closed")
}
