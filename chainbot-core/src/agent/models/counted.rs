//! Counts what every request cost, whoever made it.

use std::time::Duration;

use super::{ModelSetup, Models, Price};
use crate::agent::provider::{
    CallLimits, DeltaSink, ModelError, ModelProvider, ModelReply, ModelRequest, Pending,
};

impl Models {
    /// One request that ended. `of`: server and model.
    pub(super) fn count(
        &self,
        of: (&str, &str),
        price: &Price,
        outcome: &Result<ModelReply, ModelError>,
        took: Duration,
    ) {
        let (word, usage) = match outcome {
            Ok(reply) => ("ok", reply.usage),
            Err(error) => (error.class.as_str(), error.usage.unwrap_or_default()),
        };
        let tokens = [usage.input.saturating_sub(usage.cached), usage.cached, usage.output];
        self.meters.models.called(of.0, of.1, word, took, &tokens, price.cost_micros(&usage));
    }
}

/// A server whose requests are counted, for who asks it past the whole call.
pub(super) struct Counted<'a> {
    pub models: &'a Models,
    pub inner: &'a dyn ModelProvider,
    pub setup: &'a ModelSetup,
}

impl ModelProvider for Counted<'_> {
    fn call<'a>(
        &'a self,
        request: &'a ModelRequest,
        limits: &'a CallLimits,
        sink: &'a mut dyn DeltaSink,
    ) -> Pending<'a, ModelReply> {
        Box::pin(async move {
            let begun = self.models.env.monotonic();
            let outcome = self.inner.call(request, limits, sink).await;
            let took = self.models.env.monotonic().saturating_sub(begun);
            self.models.count((&self.setup.provider, &self.setup.name), &self.setup.price, &outcome, took);
            outcome
        })
    }

    fn list(&self) -> Pending<'_, Vec<String>> {
        self.inner.list()
    }
}
