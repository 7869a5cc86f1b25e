//! What the boundary promises, seen from outside: the layout is the committed one, versions meet as the contract says, an
//! unloaded library leaves nothing behind, and sanitizers have nothing to say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use chainbot_core::env::proof::size;

use crate::support::{has_tool, host_shim, plugin, root, run, skip};
use crate::transcript::{again, c_host, every_host};

/// Compiles a C file of tests/c; gives what it made.
fn compile(folder: &Path, source: &str, name: &str, flags: &[&str]) -> PathBuf {
    let out = folder.join(name);
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread"]).args(flags);
    // Relative, so that the debug information holds no path of this machine.
    cc.args(["-Iinclude", &format!("tests/c/{source}")]).current_dir(root());
    run(cc.arg(format!("-fdebug-prefix-map={}=.", root().display())).arg("-o").arg(&out).arg("-ldl"));
    out
}

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

// ---- layout ----

const REFERENCE: &str = "tests/golden/abi-1.0.xml";

/// Compiles the probe with a header and compares it with the reference: whether they are equal, and what abidiff said.
fn abidiff(folder: &Path, header: &Path) -> (bool, String) {
    let probe = folder.join("probe.so");
    let mut cc = Command::new("cc");
    cc.args(["-g", "-shared", "-fPIC", "-I"]).arg(header).arg("tests/c/abi_probe.c").current_dir(root());
    run(cc.arg(format!("-fdebug-prefix-map={}=.", root().display())).arg("-o").arg(&probe));
    if std::env::var_os("UPDATE_GOLDEN").is_some() && header.ends_with("include") {
        let options = ["--no-show-locs", "--no-comp-dir-path", "--no-corpus-path", "--no-elf-needed"];
        let xml = run(Command::new("abidw").args(options).args(["--type-id-style", "hash"]).arg(&probe));
        std::fs::write(root().join(REFERENCE), xml).unwrap();
    }
    let output = Command::new("abidiff").arg(root().join(REFERENCE)).arg(&probe).output().unwrap();
    // 1 and 2 say that abidiff itself failed; 4 and 8 that there are differences.
    let code = output.status.code().unwrap_or(1);
    assert_eq!(code & 3, 0, "{}", both(&output));
    (code == 0, both(&output))
}

#[test]
fn the_layout_is_the_committed_one_and_a_changed_member_is_named() {
    let name = "the_layout_is_the_committed_one_and_a_changed_member_is_named";
    if !cfg!(target_arch = "x86_64") {
        skip!(name, "the committed reference is for x86-64");
    }
    if !has_tool("abidiff") {
        skip!(name, "abidiff is not installed (Debian's abigail-tools)");
    }
    let folder = tempfile::tempdir().unwrap();
    let (equal, said) = abidiff(folder.path(), &root().join("include"));
    assert!(equal, "the layout is not that of {REFERENCE}:\n{said}");
    let header = std::fs::read_to_string(root().join("include/alex_module.h")).unwrap();
    // The header's own checks would refuse these before abidiff sees them.
    let unchecked: Vec<_> = header.lines().filter(|line| !line.starts_with("ALEX_CHECK(")).collect();
    let unchecked = unchecked.join("\n");
    for (from, to, names) in [
        ("  uint32_t panics;", "  uint64_t panics;", ["AlexHealth", "panics"]),
        ("  uint64_t unix_ns;", "  uint64_t unix_ns;\n  uint64_t appended;", ["AlexEvent", "appended"]),
        ("  uint32_t http_status;\n", "", ["AlexWebhookReply", "http_status"]),
        (
            "(*publish)(void *ctx, const struct AlexEvent *event)",
            "(*publish)(void *ctx, const struct AlexEvent *event, uint32_t added)",
            ["AlexHost", "publish"],
        ),
    ] {
        let changed = unchecked.replace(from, to);
        assert_ne!(changed, unchecked, "`{from}` is not in the header");
        std::fs::write(folder.path().join("alex_module.h"), changed).unwrap();
        let (equal, said) = abidiff(folder.path(), folder.path());
        assert!(!equal, "abidiff does not see `{to}`");
        assert!(names.iter().all(|name| said.contains(name)), "{names:?} are not named:\n{said}");
    }
}

#[test]
fn the_library_needs_no_newer_libc_than_the_oldest_target_has() {
    if !has_tool("readelf") {
        skip!("the_library_needs_no_newer_libc_than_the_oldest_target_has", "readelf is not installed");
    }
    let versions = run(Command::new("readelf").args(["--version-info", "--wide"]).arg(plugin()));
    let needed = versions
        .split("Name: GLIBC_2.")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok());
    let highest = needed.max().expect("the library needs libc");
    println!("highest symbol version: GLIBC_2.{highest}");
    // Debian 12, and with it Raspberry Pi OS 12, has 2.36.
    assert!(highest <= 36, "GLIBC_2.{highest} is newer than Debian 12");
}

// ---- versions ----

#[test]
fn a_module_of_another_minor_is_taken_and_one_of_another_major_is_refused_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let module = |flags: &[&str]| {
        let name = format!("skew{}.so", flags.concat());
        let made = folder.path().join(&name);
        let flags = [&["-shared", "-fPIC", "-O1"], flags].concat();
        if made.exists() { made } else { compile(folder.path(), "skew.c", &name, &flags) }
    };
    let script = folder.path().join("describe.script");
    std::fs::write(&script, "describe\ninitialize {}\n").unwrap();
    // The same minor; a newer one, with and without a function that this host does not know.
    let taken =
        [vec!["-DVERSION=0x00010000"], vec!["-DVERSION=0x00010001"], vec!["-DVERSION=0x00010002", "-DEXTRA"]];
    // Another major, older and newer; a struct that lacks a function of 1.0.
    let refused = [
        (vec!["-DVERSION=0x00000009"], ["0.9", "1.0"]),
        (vec!["-DVERSION=0x00020003"], ["2.3", "1.0"]),
        (vec!["-DVERSION=0x00010000", "-DMISSING"], ["72", "80"]),
    ];
    let mut hosts = every_host(folder.path());
    hosts.push(("host-shim", Command::new(host_shim())));
    for (host, command) in hosts {
        let play = |module: &Path| {
            let mut command = again(&command);
            if host == "host-shim" {
                command.args(["transcript", "--module"]).arg(module).arg("--script").arg(&script);
            } else {
                command.arg(module).arg(&script);
            }
            command.current_dir(folder.path()).output().unwrap()
        };
        for flags in &taken {
            let output = play(&module(flags));
            let got = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{host} refuses {flags:?}: {}", both(&output));
            assert!(got.contains("UNSUPPORTED this module only shows its version"), "{host}: {got}");
        }
        for (flags, numbers) in &refused {
            let output = play(&module(flags));
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{host} takes {flags:?}: {}", both(&output));
            assert!(numbers.iter().all(|number| said.contains(number)), "{host}: no {numbers:?} in: {said}");
        }
    }
}

#[test]
fn a_host_of_the_next_minor_runs_this_module() {
    let folder = tempfile::tempdir().unwrap();
    let header = std::fs::read_to_string(root().join("include/alex_module.h")).unwrap();
    let last = "  const void *(*get_extension)(void *instance, struct AlexStr id);\n";
    let newer = header
        .replace("#define ALEX_ABI_MINOR 0", "#define ALEX_ABI_MINOR 1")
        .replace("#define ALEX_ABI_VERSION 65536", "#define ALEX_ABI_VERSION 65537")
        .replace(last, &format!("{last}  AlexStatus (*added)(void *instance);\n"));
    assert_ne!(
        newer.replace("AlexStatus (*added)", ""),
        newer,
        "the struct's last function has another shape"
    );
    std::fs::write(folder.path().join("alex_module.h"), newer).unwrap();
    let script = folder.path().join("life.script");
    let initialize = r#"initialize {"data_dir":"data","values":{"api":{"port":null}}}"#;
    std::fs::write(&script, format!("{initialize}\nstart\nwebhook GET /api/chainbot/health/live\n")).unwrap();
    let mut host = c_host(folder.path(), folder.path(), &[]);
    let got = run(host.arg(plugin()).arg(&script).current_dir(folder.path()));
    assert!(got.contains("DONE OK 200") && got.ends_with("stop OK\ncleanup OK\n"), "{got}");
}

// ---- what stays behind ----

/// A copy of the library whose NODELETE flag is cleared: byte for byte what the linker makes without `-z nodelete`.
fn unloadable(folder: &Path) -> PathBuf {
    const DYNAMIC: u64 = 2; // PT_DYNAMIC
    const FLAGS_1: u64 = 0x6fff_fffb; // DT_FLAGS_1
    const NODELETE: u8 = 0x08; // DF_1_NODELETE
    let mut bytes = std::fs::read(plugin()).unwrap();
    assert_eq!(bytes[..6], *b"\x7fELF\x02\x01", "a 64-bit little-endian library");
    let number = |bytes: &[u8], at: usize, len: usize| {
        bytes[at..at + len].iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let (headers, size) = (number(&bytes, 0x20, 8) as usize, number(&bytes, 0x36, 2) as usize);
    let segment = (0..number(&bytes, 0x38, 2) as usize)
        .map(|at| headers + at * size)
        .find(|at| number(&bytes, *at, 4) == DYNAMIC)
        .expect("a dynamic segment");
    let start = number(&bytes, segment + 0x08, 8) as usize;
    let end = start + number(&bytes, segment + 0x20, 8) as usize;
    let flags = (start..end).step_by(16).find(|at| number(&bytes, *at, 8) == FLAGS_1).expect("DT_FLAGS_1");
    assert_ne!(bytes[flags + 8] & NODELETE, 0, "the library is built with -z nodelete");
    bytes[flags + 8] &= !NODELETE;
    let out = folder.join("libunloadable.so");
    std::fs::write(&out, bytes).unwrap();
    out
}

/// Runs cycles of tests/c/unload.c; `before` is what stands in front of it.
fn cycles(before: &[&str], library: &Path, count: usize, after_close: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "unload.c", "unload", &["-O1"]);
    let mut command = match before {
        [] => Command::new(&program),
        [tool, arguments @ ..] => {
            let mut command = Command::new(tool);
            command.args(arguments).arg(&program);
            command
        }
    };
    command.arg(library).args([&count.to_string(), after_close]).current_dir(folder.path());
    // glibc gives each thread a heap of its own, up to 16, and each grows to what a start takes for a moment: with one heap memory that is
    // forgotten shows, and nothing else does.
    let output = command.env("MALLOC_ARENA_MAX", "1").stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
    print!("{}", String::from_utf8_lossy(&output.stdout));
    both(&output)
}

#[test]
fn a_library_that_may_be_unloaded_leaves_no_mapping_no_thread_and_no_descriptor() {
    let folder = tempfile::tempdir().unwrap();
    // Not more: Rust's standard library forgets a pthread key with each image that is unloaded, and a process has 1,024.
    cycles(&[], &unloadable(folder.path()), 200, "gone");
}

#[test]
fn the_shipped_library_stays_and_its_memory_is_flat() {
    cycles(&[], &plugin(), 1_100, "stays");
}

#[test]
fn helgrind_finds_no_race_in_the_host_in_c() {
    let name = "helgrind_finds_no_race_in_the_host_in_c";
    if !has_tool("valgrind") {
        skip!(name, "valgrind is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("life.script");
    std::fs::write(&script, crate::abi_aarch64::SCRIPT).unwrap();
    let echo = root().join("tests/c/echo.c");
    let unlocked = format!(
        "#include <pthread.h>\n#define pthread_mutex_lock(m) 0\n#define pthread_mutex_unlock(m) 0\n#include \"{}\"\n",
        echo.display()
    );
    let racy = folder.path().join("racy.c");
    std::fs::write(&racy, unlocked).unwrap();
    let host = c_host(folder.path(), &root().join("include"), &["-g", "-O1"]);
    // With a module in C: helgrind does not know the locks of Rust. The second one shows that it sees what there is to see.
    for (source, is_clean) in [(&echo, true), (&racy, false)] {
        let module = folder.path().join("module.so");
        let mut cc = Command::new("cc");
        cc.args(["-std=gnu11", "-g", "-O1", "-w", "-shared", "-fPIC", "-pthread", "-I"])
            .arg(root().join("include"));
        run(cc.arg(source).arg("-o").arg(&module));
        let mut valgrind = Command::new("valgrind");
        valgrind
            .args(["--tool=helgrind", "--error-exitcode=9"])
            .arg(host.get_program())
            .arg(&module)
            .arg(&script);
        let output = valgrind.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
        let said = both(&output);
        assert_eq!(output.status.code(), Some(if is_clean { 0 } else { 9 }), "{}: {said}", source.display());
        assert_eq!(said.contains("Possible data race"), !is_clean, "{said}");
    }
}

#[test]
fn valgrind_finds_nothing_in_a_host_that_closes_the_library() {
    let name = "valgrind_finds_nothing_in_a_host_that_closes_the_library";
    if !has_tool("valgrind") {
        skip!(name, "valgrind is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let count = size(1, 20) as usize;
    // What static objects own is lost with an unloaded image, so leaks are looked for in the library that stays.
    for (library, leaks, after_close) in [
        (unloadable(folder.path()), &["--leak-check=no"][..], "gone"),
        (plugin(), &["--leak-check=full", "--errors-for-leak-kinds=definite,indirect"][..], "stays"),
    ] {
        // Without lines, which valgrind would read anew at each load; names are enough to say where.
        let stripped = folder.path().join(format!("lib{after_close}.so"));
        run(Command::new("strip").arg("--strip-debug").arg(&library).arg("-o").arg(&stripped));
        let valgrind = [&["valgrind", "--error-exitcode=9"], leaks].concat();
        let said = cycles(&valgrind, &stripped, count, after_close);
        assert!(said.contains("ERROR SUMMARY: 0 errors"), "{said}");
    }
}

// ---- sanitizers ----

#[test]
fn a_sanitized_host_sees_no_fault_and_no_leak_in_many_starts() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("starts.script");
    let mut text = r#"initialize {"data_dir":"data","values":{"api":{"port":null}}}"#.to_owned();
    for _ in 0..size(200, 1_000) {
        text.push_str("\nstart\nstop 30000");
    }
    // The last round does something too.
    text.push_str("\nstart\nwebhook GET /api/chainbot/health/live\nhealth\nstop 30000\ncleanup\n");
    std::fs::write(&script, &text).unwrap();
    let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"];
    let mut host = c_host(folder.path(), &root().join("include"), &flags);
    host.env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1");
    let output = host.arg(plugin()).arg(&script).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
    let got = String::from_utf8_lossy(&output.stdout);
    assert_eq!(got.lines().count(), text.lines().count(), "{got}");
    assert!(got.lines().all(|line| line.contains(" OK")), "{got}");
}

#[test]
fn a_sanitized_host_sees_a_planted_leak() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("leak.c");
    std::fs::write(&source, "#include <stdlib.h>\nint main(void) { return malloc(42) == (void *)1; }\n")
        .unwrap();
    let program = folder.path().join("leak");
    run(Command::new("cc").arg("-fsanitize=address").arg(&source).arg("-o").arg(&program));
    let output = Command::new(program).env("ASAN_OPTIONS", "detect_leaks=1").output().unwrap();
    let said = both(&output);
    assert!(
        !output.status.success() && said.contains("42 byte(s) leaked"),
        "LeakSanitizer is blind here: {said}"
    );
}

#[test]
fn the_boundary_helpers_pass_miri() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let has_miri = Command::new(&cargo).args(["miri", "--version"]).output();
    if !has_miri.is_ok_and(|output| output.status.success()) {
        skip!("the_boundary_helpers_pass_miri", "cargo miri is not installed (a component of nightly Rust)");
    }
    let mut miri = Command::new(cargo);
    miri.args(["miri", "test", "-p", "chainbot-abi", "--no-default-features", "--lib"]).current_dir(root());
    run(miri.arg("--target-dir").arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("miri")));
}
