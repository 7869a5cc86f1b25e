//! A session with the API of a data folder: the server that works on it, or the engine opened in this process.

use std::sync::Arc;
use std::time::Duration;

use chainbot_core::app::{App, Services};
use chainbot_core::config::Config;
use chainbot_core::env::Env;
use chainbot_core::port::SecretText;
use serde_json::{Value, json};

use crate::args::Place;
use crate::client::Client;
use crate::error::{Error, Result, code};
use crate::folder::Folder;
use crate::output;

/// How long the engine in this process may take to stop: effects under way are waited for, so that none is left in
/// doubt that would have ended by itself.
const STOP_MAX: Duration = Duration::from_secs(30);
/// Unfinished runs that are counted one by one; beyond, "at least" is enough.
const COUNTED_MAX: usize = 1_000;

/// A way to the API and what must be closed after it.
pub struct Session {
    /// The API.
    pub client: Client,
    app: Option<Arc<App>>,
}

impl Session {
    /// To the server of the folder when one runs, else with an engine in this process, called `process` in the
    /// folder's lock.
    pub async fn open(place: &Place, process: &str) -> Result<Self> {
        if let Some(client) = elsewhere(place)? {
            return Ok(Self { client, app: None });
        }
        let folder = Folder::choose(place)?;
        warn(folder.config());
        if let Some(server) = folder.server()?
            && let Some(url) = &server.url
        {
            let client = Client::remote(url, &folder.token()?)?;
            return Ok(Self { client, app: None });
        }
        crate::logging::show(folder.config());
        let document = folder.document(&json!({ "api": { "port": null } }));
        let config = App::check(&document)?;
        let services = Services {
            env: Env::system(),
            bus: None,
            process: process.to_owned(),
            module_path: None,
            port_hint: None,
        };
        let app = Arc::new(App::start(config, services).await?);
        let client = Client::embedded(app.clone(), folder.token()?);
        Ok(Self { client, app: Some(app) })
    }

    /// To the server of the folder, which must run.
    pub fn remote(place: &Place) -> Result<Self> {
        if let Some(client) = elsewhere(place)? {
            return Ok(Self { client, app: None });
        }
        let folder = Folder::choose(place)?;
        let server = folder.required_server()?;
        let Some(url) = &server.url else {
            return Err(Error::new(
                &crate::error::code::NO_SERVER,
                format!("`{}` (pid {}) uses the folder and has no port", server.process, server.pid),
            )
            .help("give it one with api.port, or wait until it ends"));
        };
        let client = Client::remote(url, &folder.token()?)?;
        Ok(Self { client, app: None })
    }

    /// Whether the engine is in this process, so that runs go on only while it lives.
    pub fn is_embedded(&self) -> bool {
        self.app.is_some()
    }

    /// How many runs of the folder are not over. At most [`COUNTED_MAX`] of each sort are looked at.
    pub async fn unfinished(&self) -> Result<usize> {
        let mut ids = std::collections::BTreeSet::new();
        for status in ["pending", "running", "waiting", "paused"] {
            let path = format!("/runs?status={status}");
            let (runs, _) = self.client.list::<Value>(&path, COUNTED_MAX).await?;
            ids.extend(runs.iter().filter_map(|run| run["id"].as_str()).map(str::to_owned));
        }
        Ok(ids.len())
    }

    /// Says that other runs go on as well, where that happens because this process opened the engine.
    pub async fn announce_unfinished(&self) -> Result<()> {
        if self.is_embedded() {
            match self.unfinished().await? {
                0 => {}
                1 => output::note("1 unfinished run continues"),
                n => output::note(&format!("{n} unfinished runs continue")),
            }
        }
        Ok(())
    }

    /// Stops the engine of this process in order. A server is left as it is.
    pub async fn close(self) -> Result<()> {
        match self.app {
            Some(app) => app.stop(STOP_MAX).await.map_err(Error::Core),
            None => Ok(()),
        }
    }
}

/// The way to a server that is named by its URL.
pub fn elsewhere(place: &Place) -> Result<Option<Client>> {
    let Some(url) = &place.url else { return Ok(None) };
    let token = match (&place.token_file, std::env::var("CHAINBOT_TOKEN")) {
        (Some(file), _) => crate::hidden::read(Some(file), "token")?,
        (None, Ok(token)) => SecretText::new(token),
        (None, Err(_)) => {
            return Err(Error::new(&code::USAGE, "the server's token is not given")
                .help("name a file with --token-file, or set CHAINBOT_TOKEN"));
        }
    };
    Client::elsewhere(url, token.reveal().trim()).map(Some)
}

/// Says what the configuration has that has no effect.
fn warn(config: &Config) {
    for warning in config.warnings() {
        output::note(&crate::snippet::plain(&warning.into()));
    }
}
