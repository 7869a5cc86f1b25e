//! The C header is readable by every compiler that hosts are written with, alone and included twice, without a warning.

use std::process::Command;

use crate::support::{has_tool, root, run, skip};

const STRICT: [&str; 6] = ["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Iinclude"];

fn check(compiler: &str, language: &str, standard: &str) {
    let folder = tempfile::tempdir().unwrap();
    for (name, source) in [
        ("alone", "#include \"alex_module.h\"\n"),
        ("twice", "#include \"alex_module.h\"\n#include \"alex_module.h\"\nint used(void);\n"),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, source).unwrap();
        let standard = format!("-std={standard}");
        let mut command = Command::new(compiler);
        command.args(STRICT).args(["-x", language, &standard]).arg(file).current_dir(root());
        if language == "c" {
            command.arg("-Wstrict-prototypes");
        }
        run(&mut command);
    }
}

fn check_all(name: &str, compiler: &str, language: &str, standards: &[&str]) {
    if !has_tool(compiler) {
        skip!(name, "{compiler} is not installed");
    }
    for standard in standards {
        check(compiler, language, standard);
    }
}

#[test]
fn gcc_reads_the_header_in_every_c() {
    check_all("gcc_reads_the_header_in_every_c", "gcc", "c", &["c99", "c11", "c17"]);
}

#[test]
fn gcc_reads_the_header_in_every_cpp() {
    check_all("gcc_reads_the_header_in_every_cpp", "g++", "c++", &["c++11", "c++17", "c++20"]);
}

#[test]
fn clang_reads_the_header_in_every_c() {
    check_all("clang_reads_the_header_in_every_c", "clang", "c", &["c99", "c11", "c17"]);
}

#[test]
fn clang_reads_the_header_in_every_cpp() {
    check_all("clang_reads_the_header_in_every_cpp", "clang++", "c++", &["c++11", "c++17", "c++20"]);
}

#[test]
fn the_layout_holds_on_other_machines() {
    let name = "the_layout_holds_on_other_machines";
    if !has_tool("clang") {
        skip!(name, "clang is not installed, which compiles for every machine");
    }
    let machines = ["aarch64-unknown-linux-gnu", "armv7-unknown-linux-gnueabihf", "i686-unknown-linux-gnu"];
    for machine in machines {
        // Freestanding: the compiler's own stdint.h will do, so no libc of that machine is needed.
        let mut clang = Command::new("clang");
        clang.args(["-fsyntax-only", "-ffreestanding", "-Wall", "-Wextra", "-Werror", "-std=c99", "-x", "c"]);
        run(clang.arg(format!("--target={machine}")).arg(root().join("include/alex_module.h")));
    }
}

#[test]
fn a_wrong_layout_does_not_compile() {
    if !has_tool("gcc") {
        skip!("a_wrong_layout_does_not_compile", "gcc is not installed");
    }
    let header = std::fs::read_to_string(root().join("include/alex_module.h")).unwrap();
    let wrong = header.replace("  uint64_t uptime_ms;", "  uint32_t uptime_ms[3];");
    assert_ne!(wrong, header, "the field has another name");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.h");
    std::fs::write(&file, wrong).unwrap();
    let output = Command::new("gcc").args(["-fsyntax-only", "-x", "c"]).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("alex_check_health"), "the checks in the header's trailer are blind: {said}");
}
