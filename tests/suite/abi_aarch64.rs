//! The machine that most modules run on, as far as it can be had on another: the header, a host and a module in C are compiled for
//! aarch64 and run by qemu's user mode. The layout must be that of x86-64, member by member, and so must a transcript.
//!
//! Needs Debian's gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user, about 300 MB together; without them it skips.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{has_tool, root, run, skip};

/// A C compiler, and what runs its programs.
struct Machine {
    name: &'static str,
    compiler: &'static str,
    runner: &'static [&'static str],
}

const HERE: Machine = Machine { name: "here", compiler: "gcc", runner: &[] };
const AARCH64: Machine = Machine {
    name: "aarch64",
    compiler: "aarch64-linux-gnu-gcc",
    runner: &["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"],
};

/// Why the tests cannot be made, if so.
fn missing() -> Option<String> {
    if !cfg!(target_arch = "x86_64") {
        return Some("made for comparison with x86-64".to_owned());
    }
    let tools = ["gcc", AARCH64.compiler, AARCH64.runner[0]];
    let missing: Vec<_> = tools.into_iter().filter(|tool| !has_tool(tool)).collect();
    let libc = Path::new(AARCH64.runner[2]).join("lib/libc.so.6");
    match missing.is_empty() {
        false => {
            Some(format!("{} not installed (Debian's gcc-aarch64-linux-gnu, qemu-user)", missing.join(", ")))
        }
        true if !libc.exists() => Some(format!("no {} (Debian's libc6-dev-arm64-cross)", libc.display())),
        true => None,
    }
}

impl Machine {
    fn compile(&self, folder: &Path, name: &str, flags: &[&str], sources: &[PathBuf]) -> PathBuf {
        let out = folder.join(format!("{name}-{}", self.name));
        let mut cc = Command::new(self.compiler);
        cc.args(["-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-I"]).arg(root().join("include"));
        run(cc.args(flags).args(sources).arg("-o").arg(&out).arg("-ldl"));
        out
    }

    fn command(&self, program: &Path) -> Command {
        let mut words = self.runner.iter();
        let Some(first) = words.next() else { return Command::new(program) };
        let mut command = Command::new(first);
        command.args(words).arg(program);
        command
    }
}

/// Every struct of the header, with its members.
fn structs(header: &str) -> Vec<(String, Vec<String>)> {
    let code: String = header.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let mut found = Vec::new();
    for part in code.split("typedef struct ").skip(1) {
        let Some((name, rest)) = part.split_once('{') else { continue };
        let body = rest.split('}').next().unwrap_or_default();
        let member = |text: &str| {
            let name = match text.split_once("(*") {
                Some((_, function)) => function.split(')').next()?,
                None => text.split('[').next()?.rsplit([' ', '*']).find(|word| !word.is_empty())?,
            };
            Some(name.trim().to_owned())
        };
        let members = body.split(';').filter(|text| !text.trim().is_empty()).filter_map(member).collect();
        found.push((name.trim().to_owned(), members));
    }
    found
}

/// A program that prints size, alignment and the place of every member of every struct.
fn probe(header: &str) -> String {
    let mut text =
        "#include \"alex_module.h\"\n#include \"alex_module.h\"\n#include <stdio.h>\nint main(void) {\n"
            .to_owned();
    for (name, members) in structs(header) {
        text.push_str(&format!(
            "  printf(\"{name} size %zu align %zu\\n\", sizeof({name}), _Alignof({name}));\n"
        ));
        for member in members {
            text.push_str(&format!(
                "  printf(\"{name}.{member} at %zu of %zu\\n\", offsetof({name}, {member}), sizeof((({name} *)0)->{member}));\n"
            ));
        }
    }
    text + "  return 0;\n}\n"
}

#[test]
fn every_member_lies_on_aarch64_where_it_lies_on_x86_64() {
    if let Some(reason) = missing() {
        skip!("every_member_lies_on_aarch64_where_it_lies_on_x86_64", "{reason}");
    }
    let folder = tempfile::tempdir().unwrap();
    let header = std::fs::read_to_string(root().join("include/alex_module.h")).unwrap();
    let source = folder.path().join("probe.c");
    std::fs::write(&source, probe(&header)).unwrap();
    let layout = |machine: &Machine| {
        let program = machine.compile(
            folder.path(),
            "probe",
            &["-std=c11", "-Wpedantic"],
            std::slice::from_ref(&source),
        );
        run(&mut machine.command(&program))
    };
    let (here, there) = (layout(&HERE), layout(&AARCH64));
    for line in
        ["AlexBaseModule.get_extension at 72 of 8", "AlexHealth size 192 align 8", "AlexStr.len at 8 of 8"]
    {
        assert!(here.lines().any(|own| own == line), "`{line}` is not what the probe says:\n{here}");
    }
    for name in structs(&header).iter().map(|(name, _)| name) {
        assert!(here.contains(&format!("{name} size ")) && here.contains(&format!("{name}.")), "{name}");
    }
    assert_eq!(here, there, "aarch64 lays the structs out in another way");
}

/// A life of `tests/c/echo.c`, with one request of each kind.
pub const SCRIPT: &str = "\
describe
health
initialize {}
start
health
webhook GET /path?x=1 [accept: text/plain] -- body
webhook GET /cancelled
webhook GET /busy
event test.one {\"n\":1}
wait-event echo.got
force-event test.two not json
extension alex.nothing/1
cleanup
stop 10000
health
start
webhook GET /again
stop 10000
cleanup
health
";

#[test]
fn a_host_and_a_module_in_c_print_on_aarch64_what_they_print_on_x86_64() {
    if let Some(reason) = missing() {
        skip!("a_host_and_a_module_in_c_print_on_aarch64_what_they_print_on_x86_64", "{reason}");
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("life.script");
    std::fs::write(&script, SCRIPT).unwrap();
    let sources = ["host.c", "services.c", "text.c"].map(|name| root().join("examples/c-host").join(name));
    let transcript = |machine: &Machine| {
        let host = machine.compile(folder.path(), "host", &["-std=c99", "-Wpedantic"], &sources);
        let module = machine.compile(
            folder.path(),
            "module.so",
            &["-std=gnu11", "-shared", "-fPIC"],
            &[root().join("tests/c/echo.c")],
        );
        let mut command = machine.command(&host);
        run(command.arg(module).arg(&script).current_dir(folder.path()).stdin(Stdio::null()))
    };
    let (here, there) = (transcript(&HERE), transcript(&AARCH64));
    assert!(here.lines().count() == 20 && here.contains("DONE"), "{here}");
    assert_eq!(here, there);
}
