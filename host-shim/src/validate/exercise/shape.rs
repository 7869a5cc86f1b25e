//! Before there is an instance: the library, its struct, its manifest, and initialize.

use std::path::Path;
use std::time::Duration;

use chainbot_abi::{ABI_MAJOR, ABI_VERSION, BASE_MODULE_SIZE_1_0, Host, Status};
use serde_json::Value;

use crate::load::{self, version_text};
use crate::manifest::Manifest;
use crate::module::Table;
use crate::pattern::Pattern;
use crate::validate::arguments::{Field, wrong_texts};
use crate::validate::bench::{Bench, Room};
use crate::validate::record::{expect, fail, skip};
use crate::validate::strict;
use crate::validate::surroundings::{settles, thread_names, threads};

/// The library and its struct, read as carefully as one that is unknown must be.
pub fn entry(path: &Path) {
    let skip_rest = |reason: &str| {
        for check in ["versions", "struct-size", "functions"] {
            skip(check, reason);
        }
    };
    let entry = match load::open(path) {
        Ok(entry) => entry,
        Err(error) => {
            fail("entry", error.to_string());
            return skip_rest("the library does not load");
        }
    };
    // SAFETY: the entry function takes any number and has no precondition.
    let (base, again, any, foreign) =
        unsafe { (entry(ABI_VERSION), entry(ABI_VERSION), entry(0), entry((ABI_MAJOR + 1) << 16)) };
    expect("versions", !any.is_null(), || {
        "alex_base_module(0) gave null; it gives the struct whatever its version, so that a host can name it"
            .to_owned()
    });
    let head = if base.is_null() { any } else { base };
    if head.is_null() || !head.is_aligned() {
        fail("versions", format!("alex_base_module({ABI_VERSION:#x}) gave {head:p}"));
        return skip_rest("there is no struct to read");
    }
    // SAFETY: not null and aligned; every major keeps these two fields in their place.
    let (size, version) = unsafe { ((*head).struct_size as usize, (*head).abi_version) };
    if version >> 16 != ABI_MAJOR || base.is_null() {
        let (theirs, ours) = (version_text(version), version_text(ABI_VERSION));
        fail(
            "versions",
            format!("the module has ABI version {theirs}, this host has {ours}; the majors must agree"),
        );
        skip("struct-size", "another major");
        return skip("functions", "another major");
    }
    expect("versions", base == again && base == any, || {
        "alex_base_module gave different structs for the same module".to_owned()
    });
    expect("versions", foreign.is_null(), || {
        format!(
            "alex_base_module({}.0) gave a struct of major {ABI_MAJOR}; it gives null to a host of another major",
            ABI_MAJOR + 1
        )
    });
    let needed = BASE_MODULE_SIZE_1_0;
    if !expect("struct-size", size >= needed, || {
        format!("struct_size is {size}, version 1.0 has {needed} bytes")
    }) {
        return skip("functions", "struct_size does not cover them");
    }
    // SAFETY: struct_size covers 1.0, and the library stays loaded.
    if let Err(name) = Table::new(unsafe { &*base }) {
        fail("functions", format!("`{name}` is null"));
    }
}

/// The manifest and the time it takes.
pub fn describe(bench: &Bench) {
    let (first, bytes) = bench.describe();
    if !expect("manifest", first.is_ok(), || format!("`describe` returned {}", first.show())) {
        return skip("describe-time", "`describe` fails");
    }
    let fastest = (0..3).map(|_| bench.describe().0.took).min().unwrap_or_default();
    expect("describe-time", fastest <= Duration::from_millis(100), || {
        format!("the fastest of three calls took {} ms, at most 100 are allowed", fastest.as_millis())
    });
    expect("manifest", bench.describe().1 == bytes, || "two calls gave different documents".to_owned());
    if let Err(why) = Manifest::parse(&bytes) {
        return fail("manifest", why);
    }
    members(&bench.manifest);
}

/// The members of the manifest, beyond what a host needs.
fn members(manifest: &Value) {
    let wrong = |text: String| fail("manifest", text);
    match manifest["abi"].as_str() {
        Some(abi) if abi.split('.').next() == Some(&ABI_MAJOR.to_string()) => {}
        other => wrong(format!("`abi` is {other:?}, the struct says major {ABI_MAJOR}")),
    }
    let texts = |place: &str, value: &Value| match value {
        Value::Null => Vec::new(),
        Value::Array(all) if all.iter().all(Value::is_string) => {
            all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => {
            wrong(format!("`{place}` is not an array of texts"));
            Vec::new()
        }
    };
    texts("capabilities", &manifest["capabilities"]);
    texts("extensions", &manifest["extensions"]);
    for list in ["publish", "subscribe"] {
        for pattern in texts(&format!("event_topics.{list}"), &manifest["event_topics"][list]) {
            if let Err(why) = Pattern::parse(&pattern) {
                wrong(format!("`event_topics.{list}`: {why}"));
            }
        }
    }
    if !matches!(manifest["config_schema"], Value::Null | Value::Object(_)) {
        wrong("`config_schema` is no JSON object".to_owned());
    }
    if !matches!(manifest["trial_values"], Value::Null | Value::Object(_)) {
        wrong("`trial_values` is no JSON object".to_owned());
    }
    if !matches!(manifest["api_endpoints"], Value::Null | Value::Object(_)) {
        wrong("`api_endpoints` is no JSON object".to_owned());
    }
}

/// Wrong arguments of initialize, and what a good one leaves.
pub fn initialize(bench: &Bench) {
    let before = threads();
    let good = Field::text(bench.config.to_string());
    let refused = |what: &str, host: *const Host, config: &Field, with_out: bool, room: Room| {
        let (answer, _) = bench.initialize(host, config, with_out, room);
        expect("initialize-arguments", answer.status == Status::INVALID, || {
            format!("`initialize` with {what} returned {}, not INVALID", answer.show())
        });
        if matches!(room, Room::Bytes(64..)) {
            expect("initialize-arguments", answer.is_ok() || !answer.message.is_empty(), || {
                format!("`initialize` with {what} gave no message")
            });
        }
    };
    let room = Room::Bytes(1_024);
    // Serving from here on: also of a wrong Host a module may call what is there, until initialize returns.
    let host = strict::provide();
    refused("a null host", std::ptr::null(), &good, true, room);
    type Edit = fn(&mut Host);
    let edits: [(&str, Edit); 9] = [
        ("a host whose struct_size is too small", |host| host.struct_size -= 8),
        ("a host of another major", |host| host.abi_version += 1 << 16),
        ("a host whose `log` is null", |host| host.log = None),
        ("a host whose `publish` is null", |host| host.publish = None),
        ("a host whose `subscribe` is null", |host| host.subscribe = None),
        ("a host whose `unsubscribe` is null", |host| host.unsubscribe = None),
        ("a host whose `config` is null", |host| host.config = None),
        ("a host whose `now` is null", |host| host.now = None),
        ("a host whose `get_extension` is null", |host| host.get_extension = None),
    ];
    for (what, edit) in edits {
        let mut host = strict::host();
        edit(&mut host);
        let host: &'static Host = Box::leak(Box::new(host));
        refused(what, host, &good, true, room);
    }
    refused("a null `out`", host.address(), &good, false, room);
    for (what, config) in wrong_texts() {
        refused(&format!("{what} as configuration"), host.address(), &config, true, room);
    }
    for text in ["{", "{\"a\":}", "not json", "[1,2", "{} {}"] {
        refused(&format!("`{text}` as configuration"), host.address(), &Field::text(text), true, room);
    }
    for cap in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55] {
        refused(
            "no JSON and little room for a message",
            host.address(),
            &Field::text("{"),
            true,
            Room::Bytes(cap),
        );
    }
    refused("no JSON and nobody interested in why", host.address(), &Field::text("{"), true, Room::Nobody);
    host.end();

    let Some(subject) = bench.subject() else {
        return fail(
            "initialize-arguments",
            "`initialize` refuses the given configuration; give one with --config or --set",
        );
    };
    let settled = settles(Duration::from_secs(1), || threads().is_subset(&before));
    expect("initialize-threads", settled, || {
        let left: std::collections::BTreeSet<_> = threads().difference(&before).cloned().collect();
        format!("{} threads are left: {}", left.len(), thread_names(&left))
    });
    subject.cleanup();
}
