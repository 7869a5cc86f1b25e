//! Which version of the module serves, and the hold on everything that goes to it while another takes its place.
//!
//! Invariants: whoever has work for the module takes the version from here each time; while it is held, work waits where it is
//! (requests in the ingress, events in the bus), within the bounds of those places; a version that was replaced gets no
//! further call but those that end it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::host::Provided;
use crate::images::Image;
use crate::instance::Instance;
use crate::manifest::Manifest;

/// One version of the module, with an instance of it.
pub struct Version {
    /// Counts from 1 in this process; owns the subscriptions.
    pub number: u64,
    /// Its library.
    pub image: Arc<Image>,
    /// What it says of itself.
    pub manifest: Manifest,
    /// What works.
    pub instance: Instance,
    /// What the instance was given.
    pub provided: Provided,
}

impl Version {
    /// Name, version, commit and path, for people and programs.
    pub fn document(&self) -> Value {
        let mut document = json!({
            "name": self.manifest.name, "version": self.manifest.version,
            "path": self.image.path().display().to_string(),
        });
        if let Some(commit) = self.manifest.document.get("commit").and_then(Value::as_str) {
            document["commit"] = json!(commit);
        }
        document
    }

    /// `chainbot 1.4.2 (libchainbot_plugin-1.4.2.so)`.
    pub fn label(&self) -> String {
        let file = self.image.path().file_name().unwrap_or_default().to_string_lossy();
        format!("{} {} ({file})", self.manifest.name, self.manifest.version)
    }
}

/// The place of the version that serves.
pub struct Current {
    // A std lock, held to copy or replace a pointer.
    version: RwLock<Arc<Version>>,
    held: watch::Sender<bool>,
    waiting: AtomicUsize,
    /// Upgrades that took place, and that did not.
    pub upgraded: AtomicU64,
    /// See above.
    pub failed: AtomicU64,
}

impl Current {
    /// With the first version.
    pub fn new(version: Arc<Version>) -> Self {
        Self {
            version: RwLock::new(version),
            held: watch::Sender::new(false),
            waiting: AtomicUsize::new(0),
            upgraded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Who serves.
    pub fn get(&self) -> Arc<Version> {
        Arc::clone(&self.version.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Work waits from here on.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Another version serves.
    pub fn switch(&self, version: Arc<Version>) {
        *self.version.write().unwrap_or_else(PoisonError::into_inner) = version;
    }

    /// Work goes on.
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// Whether a refusal of `version` may be the hand-over and not the module's own word: then the work is not over.
    pub fn is_handing_over(&self, version: &Arc<Version>) -> bool {
        *self.held.borrow() || !Arc::ptr_eq(version, &self.get())
    }

    /// Waits until nothing is held; false when that took longer than `limit`.
    pub async fn open_within(&self, limit: Duration) -> bool {
        let mut held = self.held.subscribe();
        if !*held.borrow_and_update() {
            return true;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let opened = tokio::time::timeout(limit, held.wait_for(|held| !held)).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        opened.is_ok_and(|opened| opened.is_ok())
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}
