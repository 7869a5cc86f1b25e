//! Compiled definitions by content hash. Bounded: the least recently used one that nobody holds goes first.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::engine::{Program, agent_in, compile, compile_agent};
use crate::error::code::{definition, store};
use crate::error::{Error, Result};
use crate::id::DefinitionHash;
use crate::port::{AGENT_PREFIX, Scope, Store};
use crate::validate;

/// Programs kept when no run holds them. A program is some tens of kilobytes.
const PROGRAMS_MAX: usize = 256;

/// The cache.
pub(super) struct Programs {
    store: Arc<dyn Store>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    programs: HashMap<DefinitionHash, (Arc<Program>, u64)>,
    clock: u64,
}

impl Programs {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, cache: Mutex::default() }
    }

    /// From memory, else from the store. Blocks on the disk.
    pub(super) fn get(&self, hash: DefinitionHash) -> Result<Arc<Program>> {
        if let Some(program) = self.cached(hash) {
            return Ok(program);
        }
        let source = self.store.definition(&Scope::All, hash)?.ok_or_else(|| {
            Error::new(
                &store::CORRUPT,
                format!("the definition {hash} that a run is pinned to is not in the database"),
            )
            .help("restore the newest backup")
        })?;
        self.compile(&source)
    }

    /// From memory alone.
    pub(super) fn cached(&self, hash: DefinitionHash) -> Option<Arc<Program>> {
        let mut cache = self.cache.lock();
        cache.clock += 1;
        let now = cache.clock;
        let (program, used) = cache.programs.get_mut(&hash)?;
        *used = now;
        Some(program.clone())
    }

    /// Checks and compiles a source, and keeps it.
    pub(super) fn compile(&self, source: &str) -> Result<Arc<Program>> {
        if let Some(program) = self.cached(DefinitionHash::of(source)) {
            return Ok(program);
        }
        let program = Arc::new(match agent_in(source) {
            Some(spec) => {
                let spec = spec?;
                let name = format!("{AGENT_PREFIX}{}", spec.name);
                compile_agent(spec, &name, source)?
            }
            None => {
                let checked = validate::check(source);
                let Some(parsed) = checked.definition else {
                    return Err(problems(checked.diagnostics));
                };
                compile(&parsed, source)?
            }
        });
        let mut cache = self.cache.lock();
        cache.clock += 1;
        let now = cache.clock;
        cache.programs.insert(program.hash, (program.clone(), now));
        while cache.programs.len() > PROGRAMS_MAX {
            let oldest = cache
                .programs
                .iter()
                .filter(|(_, (program, _))| Arc::strong_count(program) == 1)
                .min_by_key(|(_, (_, used))| *used)
                .map(|(hash, _)| *hash);
            let Some(oldest) = oldest else { break };
            cache.programs.remove(&oldest);
        }
        Ok(program)
    }
}

/// All problems of a definition as one error.
pub(super) fn problems(diagnostics: Vec<crate::model::Diagnostic>) -> Error {
    let errors = diagnostics.iter().filter(|d| d.severity == crate::error::Severity::Error).count();
    let first = diagnostics.iter().find(|d| d.severity == crate::error::Severity::Error);
    let message = match first {
        Some(first) if errors == 1 => {
            format!("line {}, column {}: {}", first.pos.line, first.pos.column, first.message)
        }
        Some(first) => format!(
            "{errors} problems; the first at line {}, column {}: {}",
            first.pos.line, first.pos.column, first.message
        ),
        None => "it cannot be read".to_owned(),
    };
    Error::new(&definition::INVALID, message)
        .help("`chainbot validate FILE` shows every problem with its line")
        .diagnostics_of(diagnostics)
}
