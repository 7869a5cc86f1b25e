//! The header's trailer is written by hand; here it is compared with the Rust side.

use chainbot_abi::name;

const CBINDGEN: &str = include_str!("../cbindgen.toml");

#[test]
fn the_trailer_of_the_header_has_every_name() {
    let names = [
        ("ALEX_ENTRY_SYMBOL", name::ENTRY_SYMBOL),
        ("ALEX_EXT_METRICS", name::EXT_METRICS),
        ("ALEX_EXT_DRAIN", name::EXT_DRAIN),
        ("ALEX_EXT_RECONFIGURE", name::EXT_RECONFIGURE),
        ("ALEX_EXT_THREAD_CHECK", name::EXT_THREAD_CHECK),
    ];
    for (macro_name, value) in names {
        let line = format!("#define {macro_name} \"{value}\"\n");
        assert!(CBINDGEN.contains(&line), "cbindgen.toml lacks {line}");
    }
    assert_eq!(CBINDGEN.matches("#define ALEX_E").count(), names.len(), "a name without its constant");
}

#[test]
fn every_layout_check_of_the_header_stands_in_rust_too() {
    let rust = include_str!("../src/layout.rs");
    for line in CBINDGEN.lines().filter(|line| line.starts_with("ALEX_CHECK(")) {
        let in_rust = match line.split_once("sizeof(Alex").filter(|(before, _)| !before.contains("offsetof"))
        {
            Some((_, rest)) => format!("size_of::<{}>()", rest.split(')').next().unwrap_or_default()),
            None => {
                let (_, rest) = line.split_once("offsetof(Alex").expect("a check is one of size or offset");
                format!("offset_of!({})", rest.split(')').next().unwrap_or_default())
            }
        };
        assert!(rust.contains(&in_rust), "layout.rs lacks {in_rust} of: {line}");
    }
}
