//! The machine for whoever looks after it: versions, how full, how warm, for how long.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::backup::Backup;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::observe::system::{Room, THROTTLE_FLAGS};
use crate::observe::{Folder, Machine};

/// The machine and this module on it. What cannot be read here is left out.
#[derive(Serialize, ToSchema)]
struct Overview {
    /// Of what.
    versions: Versions,
    /// When the module started.
    #[schema(format = "date-time")]
    started_at: String,
    /// Since then, in seconds.
    uptime_s: u64,
    /// Since the machine started, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine_uptime_s: Option<u64>,
    /// Work of the processors over the last interval of `monitoring.health_check_interval`, from 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_percent: Option<f64>,
    /// Clock of the first processor, in Hz.
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_hz: Option<u64>,
    /// Processes that want to run, over one, five and fifteen minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<[f64; 3]>,
    /// Of the processor, in degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature_celsius: Option<f64>,
    /// What the firmware of a Pi holds back, and why: each flag by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    throttled: Option<serde_json::Map<String, serde_json::Value>>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<MemoryView>,
    /// The disk of the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<DiskView>,
    /// The data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<DataView>,
    /// Backups, where they are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    backups: Option<BackupsView>,
}

/// Of what there are versions.
#[derive(Serialize, ToSchema)]
struct Versions {
    /// Of the module.
    chainbot: &'static str,
    /// For which processor it was built.
    architecture: &'static str,
    /// Release of the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<String>,
    /// What the board says it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    board: Option<String>,
}

/// Memory, in bytes.
#[derive(Serialize, ToSchema)]
struct MemoryView {
    /// That could be had.
    available_bytes: u64,
    /// In all.
    total_bytes: u64,
    /// Of the process, a host's included.
    #[serde(skip_serializing_if = "Option::is_none")]
    process_bytes: Option<u64>,
}

/// A disk, in bytes.
#[derive(Serialize, ToSchema)]
struct DiskView {
    /// Room for this account.
    free_bytes: u64,
    /// In all.
    total_bytes: u64,
    /// What the process had written since it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    written_bytes: Option<u64>,
}

/// The data folder, in bytes.
#[derive(Serialize, ToSchema)]
struct DataView {
    /// All of it, backups that lie in it included.
    total_bytes: u64,
    /// The database.
    database_bytes: u64,
    /// What the database has not taken in yet.
    wal_bytes: u64,
    /// Whether there is more than was counted.
    more: bool,
}

/// The backups.
#[derive(Serialize, ToSchema)]
struct BackupsView {
    /// Whole ones.
    count: usize,
    /// Of their databases.
    bytes: u64,
    /// Of when the newest one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    last_at: Option<String>,
}

impl Overview {
    fn new(shared: &Shared, machine: Machine, backups: Option<BackupsView>) -> Self {
        let Machine { reading, cpu_percent, frequency_hz, load, board, kernel, uptime_s, .. } = machine;
        let room = |room: Room| (room.free, room.total);
        let flags = |bits: u32| {
            let flag = |(bit, name): (u32, &str)| (name.to_owned(), (bits & (1 << bit) != 0).into());
            THROTTLE_FLAGS.into_iter().map(flag).collect()
        };
        Self {
            versions: Versions {
                chainbot: crate::VERSION,
                architecture: std::env::consts::ARCH,
                kernel,
                board,
            },
            started_at: shared.started_at.to_string(),
            uptime_s: shared.uptime_s(),
            machine_uptime_s: uptime_s,
            cpu_percent,
            frequency_hz,
            load,
            temperature_celsius: reading.temperature_c,
            throttled: reading.throttled.map(flags),
            memory: reading.memory.map(room).map(|(available_bytes, total_bytes)| MemoryView {
                available_bytes,
                total_bytes,
                process_bytes: machine.process_bytes,
            }),
            disk: reading.disk.map(room).map(|(free_bytes, total_bytes)| DiskView {
                free_bytes,
                total_bytes,
                written_bytes: machine.written_bytes,
            }),
            data: machine.folder.map(|Folder { bytes, database, log, is_more }| DataView {
                total_bytes: bytes,
                database_bytes: database,
                wal_bytes: log,
                more: is_more,
            }),
            backups,
        }
    }
}

impl BackupsView {
    fn of(all: &[Backup]) -> Self {
        let whole = || all.iter().filter(|one| one.bytes().is_some());
        Self {
            count: whole().count(),
            bytes: whole().filter_map(Backup::bytes).sum(),
            last_at: whole().filter_map(Backup::at).max().map(|at| at.to_string()),
        }
    }
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(system))
}

/// The machine: versions, sizes, memory, disk, temperature, throttling
#[utoipa::path(get, path = "/api/chainbot/system", tag = "system",
    responses((status = 200, description = "As it is now; what cannot be read is left out", body = Overview)))]
async fn system(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.query(&[])?;
    let (machine, backups) = (shared.machine.clone(), shared.backups.clone());
    // Some files and two folders are looked at.
    let look = move || -> Result<_> {
        let all = backups.map(|backups| backups.list()).transpose()?;
        Ok((machine(), all.map(|all| BackupsView::of(&all))))
    };
    let (machine, backups) = tokio::task::spawn_blocking(look)
        .await
        .map_err(|e| Error::new(&general::INTERNAL, "the look at the machine was cut short").because(e))??;
    Ok(Json(Overview::new(&shared, machine, backups)).into_response())
}
