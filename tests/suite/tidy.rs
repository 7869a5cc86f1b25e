//! The tidy test: rules of the tree that erode silently, read from the sources alone.
//!
//! Each rule is a function that adds what it found; `Tree::finish` takes out the exceptions of
//! `tests/data/tidy-exceptions.txt` and fails on the rest, and on an exception that nothing needs. Comments and
//! `#[cfg(test)] mod tests` at the end of a file are not code to a rule that says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::root;

/// A file longer than this is two files.
const LINES_MAX: usize = 1_000;

/// The modules of the core and the layer of each, as the core's lib.rs draws them. `app` may name everybody.
const LAYERS: &[(&str, u8)] = &[
    ("error", 0),
    ("limits", 0),
    ("id", 0),
    ("time", 0),
    ("env", 0),
    ("meter", 0),
    ("model", 1),
    ("expr", 1),
    ("schedule", 1),
    ("topic", 1),
    ("validate", 1),
    ("mcp", 1),
    ("task", 2),
    ("engine", 2),
    ("port", 2),
    ("authoring", 2),
    ("store", 3),
    ("step", 3),
    ("net", 3),
    ("gpio", 3),
    ("agent", 3),
    ("runtime", 4),
    ("auth", 5),
    ("secret", 5),
    ("backup", 5),
    ("observe", 5),
    ("http", 6),
    ("config", 6),
    ("app", 7),
];

/// What deciding code has no business with.
const OUTSIDE_WORDS: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::env::",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "getrandom",
    "tokio",
    "async fn",
    ".await",
];

struct Source {
    path: String,
    /// The whole text.
    text: String,
    /// Without line comments, documentation and the tests at the end; line numbers stay.
    code: String,
}

struct Tree {
    /// Every text file of the tree, without what is built or hidden.
    files: Vec<(String, String)>,
    sources: Vec<Source>,
    found: Vec<(&'static str, String, String)>,
}

impl Tree {
    fn read() -> Self {
        let mut files = Vec::new();
        collect(root(), &mut files);
        assert!(files.len() > 100, "the tree was not read");
        let sources = files
            .iter()
            .filter(|(path, _)| path.ends_with(".rs"))
            .map(|(path, text)| Source { path: path.clone(), text: text.clone(), code: code_of(text) })
            .collect();
        Self { files, sources, found: Vec::new() }
    }

    /// Adds what a check says of every line of the code of files that `applies` takes.
    fn each_line(
        &mut self,
        rule: &'static str,
        applies: impl Fn(&str) -> bool,
        check: impl Fn(&str) -> Option<String>,
    ) {
        for source in self.sources.iter().filter(|source| applies(&source.path) && !is_test(&source.path)) {
            for (at, line) in source.code.lines().enumerate() {
                if let Some(what) = check(line) {
                    self.found.push((rule, source.path.clone(), format!("line {}: {what}", at + 1)));
                }
            }
        }
    }

    fn finish(self) {
        let text = std::fs::read_to_string(root().join("tests/data/tidy-exceptions.txt")).unwrap();
        let exceptions: Vec<(&str, &str)> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| {
                let mut words = line.splitn(3, ' ');
                let pair = (words.next().unwrap(), words.next().unwrap_or_default());
                assert!(words.next().is_some_and(|reason| reason.len() > 10), "no reason: {line}");
                pair
            })
            .collect();
        let mut used = BTreeSet::new();
        let mut left = Vec::new();
        for (rule, path, what) in &self.found {
            if exceptions.contains(&(*rule, path.as_str())) {
                used.insert((*rule, path.as_str()));
            } else {
                left.push(format!("{rule}: {path}: {what}"));
            }
        }
        assert!(left.is_empty(), "{} findings:\n{}", left.len(), left.join("\n"));
        let idle: Vec<_> = exceptions.iter().filter(|exception| !used.contains(*exception)).collect();
        assert!(idle.is_empty(), "exceptions that nothing needs: {idle:?}");
    }
}

/// Reads a folder and all below it. Not asked of git, so that a released archive is checked as well.
fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let is_foreign = name.starts_with('.') || ["target", "node_modules", "dist"].contains(&name.as_str());
        match entry.path() {
            _ if is_foreign => {}
            // What a local run of the program writes.
            path if path == root().join("data") => {}
            path if entry.file_type().unwrap().is_dir() => collect(&path, files),
            // What is not text has no rules here.
            path => files.extend(
                std::fs::read_to_string(&path)
                    .ok()
                    .map(|text| (path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), text)),
            ),
        }
    }
}

/// Code without comments and the module of tests at the end.
fn code_of(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let strip = |line: &str| {
        let line = if line.trim_start().starts_with("//") { "" } else { line };
        line.split(" // ").next().unwrap_or_default().to_owned()
    };
    text[..end].lines().map(strip).collect::<Vec<_>>().join("\n")
}

/// Whole files of tests.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || path.starts_with("benches/")
        || path.contains("/tests/")
        || ["tests.rs", "testing.rs", "_tests.rs"].iter().any(|end| path.ends_with(end))
}

/// `pattern` as a word of its own.
fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_name) && !line[at + word.len()..].starts_with(is_name))
}

/// The module of the core that a file belongs to.
fn module_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("chainbot-core/src/")?.split(['/', '.']).next()?;
    (name != "lib").then_some(name)
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

fn in_core(path: &str) -> bool {
    path.starts_with("chainbot-core/src/")
}

fn within<'a>(folders: &'a [&'a str]) -> impl Fn(&str) -> bool + 'a {
    move |path| folders.iter().any(|folder| path.starts_with(folder))
}

fn layers(tree: &mut Tree) {
    for source in tree.sources.iter().filter(|source| !is_test(&source.path)) {
        let Some(module) = module_of(&source.path) else { continue };
        let mut find = |what: String| tree.found.push(("layer", source.path.clone(), what));
        let Some(own) = layer(module) else {
            find(format!("`{module}` has no row in the table of layers"));
            continue;
        };
        for (at, _) in source.code.match_indices("crate::") {
            let other: String =
                source.code[at + 7..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if layer(&other).is_some_and(|other| other > own) {
                find(format!("uses the higher `{other}`"));
            }
        }
        for word in OUTSIDE_WORDS.iter().filter(|_| own <= 2 && module != "env") {
            if source.code.lines().any(|line| line.contains(word)) {
                find(format!("`{word}` in a layer that only decides"));
            }
        }
    }
}

fn places(tree: &mut Tree) {
    let rust = |path: &str| !within(&["host-shim/", "chainbot-abi/"])(path);
    let sql = |path: &str| rust(path) && !within(&["chainbot-core/src/store"])(path);
    const SQL: &[&str] =
        &["SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM", "CREATE TABLE", "PRAGMA ", "rusqlite"];
    tree.each_line("sql", sql, |line| {
        SQL.iter().find(|word| line.contains(**word)).map(|word| format!("`{word}` outside of store/"))
    });
    let socket = |path: &str| {
        in_core(path) && !within(&["chainbot-core/src/net", "chainbot-core/src/http/serve.rs"])(path)
    };
    const SOCKETS: &[&str] =
        &["TcpStream", "TcpListener", "UdpSocket", "reqwest", "hyper::client", "to_socket_addrs"];
    tree.each_line("socket", socket, |line| {
        SOCKETS.iter().find(|word| has_word(line, word)).map(|word| format!("`{word}` outside of net/"))
    });
    tree.each_line(
        "print",
        |path| !path.ends_with("build.rs"),
        |line| {
            ["println!", "eprintln!", "print!", "eprint!"]
                .iter()
                .find(|word| has_word(line, word))
                .map(|word| format!("`{word}` outside of output.rs"))
        },
    );
    tree.each_line("process", in_core, |line| {
        line.contains("process::Command").then(|| "a child process".to_owned())
    });
    tree.each_line("format-in-store", within(&["chainbot-core/src/store"]), |line| {
        line.contains("format!").then(|| "SQL could be built from values".to_owned())
    });
    tree.each_line(
        "unfinished",
        |_| true,
        |line| {
            ["todo!", "dbg!", "unimplemented!"]
                .iter()
                .find(|word| has_word(line, word))
                .map(|w| (*w).to_owned())
        },
    );
}

/// `unsafe` where it is allowed, and each block with its reason.
fn unsafe_code(tree: &mut Tree) {
    let elsewhere =
        |path: &str| !within(&["chainbot-abi/", "chainbot-plugin/", "host-shim/", "tests/"])(path);
    tree.each_line("unsafe-place", elsewhere, |line| {
        (has_word(line, "unsafe") && !line.contains('"')).then(|| "unsafe code".to_owned())
    });
    for source in &tree.sources {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let opens = code.contains("unsafe {") || code.contains("unsafe impl");
            let explained = || lines[at.saturating_sub(6)..=at].iter().any(|line| line.contains("SAFETY:"));
            if opens && !code.contains('"') && !explained() {
                tree.found.push(("safety", source.path.clone(), format!("line {}", at + 1)));
            }
        }
    }
}

fn files(tree: &mut Tree) {
    for source in &tree.sources {
        if !source.text.starts_with("//!") {
            tree.found.push(("module-docs", source.path.clone(), "does not open with //!".to_owned()));
        }
    }
    // In pieces, so that this file is clean itself.
    let foreign = [["/wo", "rk/"].concat(), ["/var/cache", "/cb"].concat(), [".inter", "nal"].concat()];
    for (path, text) in &tree.files {
        if text.lines().count() > LINES_MAX && path != "Cargo.lock" {
            tree.found.push(("length", path.clone(), format!("over {LINES_MAX} lines")));
        }
        for word in foreign.iter().filter(|word| text.contains(word.as_str())) {
            tree.found.push(("machine", path.clone(), format!("names `{word}`")));
        }
        let host = text.lines().find(|line| {
            path.ends_with("Cargo.lock")
                && line.starts_with("source = ")
                && !line.contains("github.com/rust-lang/crates.io-index")
        });
        if let Some(host) = host {
            tree.found.push(("machine", path.clone(), host.to_owned()));
        }
    }
}

fn limits_have_reasons(tree: &mut Tree) {
    for source in tree.sources.iter().filter(|source| source.path.ends_with("src/limits.rs")) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if line.trim_start().starts_with("pub const") && !lines[at - 1].trim_start().starts_with("///") {
                tree.found.push(("limit", source.path.clone(), format!("line {}: no reason", at + 1)));
            }
        }
    }
}

/// Every code of the four tables: its title, where the table has one.
fn codes(tree: &Tree) -> BTreeMap<String, String> {
    let is_table = |path: &str| {
        path.starts_with("chainbot-core/src/error/code/")
            || ["chainbot-plugin/src/failure.rs", "host-shim/src/error.rs", "src/error.rs"].contains(&path)
    };
    let mut codes = BTreeMap::new();
    for source in tree.sources.iter().filter(|source| is_table(&source.path)) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((name, rest)) = line.split_once(" = \"CB-") else { continue };
            let id = format!("CB-{}", &rest[..4]);
            // `NAME = "CB-0001", Kind, "Title";`, on one line or two, or a constant with its title above.
            let both = [*line, lines.get(at + 1).copied().unwrap_or_default()].concat();
            let title = match name.trim_start().starts_with("pub const") {
                true => lines[at - 1].trim_start_matches("/// ").trim_end_matches('.').to_owned(),
                false => both.split('"').nth(3).unwrap_or_default().to_owned(),
            };
            assert!(codes.insert(id.clone(), title).is_none(), "{id} stands twice");
        }
    }
    assert!(codes.len() > 100, "the tables of codes were not read");
    codes
}

fn error_pages(tree: &mut Tree) {
    let codes = codes(tree);
    let mut pages = BTreeMap::new();
    for (path, text) in &tree.files {
        if let Some(id) = path.strip_prefix("docs/errors/").and_then(|name| name.strip_suffix(".md")) {
            pages.insert(id.to_owned(), text.lines().next().unwrap_or_default().to_owned());
        }
    }
    for (id, title) in &codes {
        let page = format!("docs/errors/{id}.md");
        // Titles begin with a capital letter in a page, whatever they do inside a sentence.
        let expected = format!("# {id}: {title}").to_lowercase();
        match pages.get(id) {
            None => tree.found.push(("error-page", page, "is missing".to_owned())),
            Some(heading) if heading.to_lowercase() != expected => {
                tree.found.push((
                    "error-page",
                    page,
                    format!("the heading is `{heading}`, the title `{title}`"),
                ));
            }
            Some(_) => {}
        }
    }
    for id in pages.keys().filter(|id| id.starts_with("CB-") && !codes.contains_key(*id)) {
        tree.found.push(("error-page", format!("docs/errors/{id}.md"), "no such code".to_owned()));
    }
}

/// Which of our crates a crate may name as a dependency of what it ships.
fn crates(tree: &mut Tree) {
    let rules: &[(&str, &[&str])] = &[
        ("chainbot-abi/Cargo.toml", &[]),
        ("chainbot-core/Cargo.toml", &[]),
        ("chainbot-plugin/Cargo.toml", &["chainbot-abi", "chainbot-core"]),
        ("host-shim/Cargo.toml", &["chainbot-abi"]),
        ("Cargo.toml", &["chainbot-core"]),
    ];
    for (path, allowed) in rules {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let shipped = text.split("\n[dependencies]\n").nth(1).unwrap_or_default();
        let shipped = shipped.split("\n[").next().unwrap_or_default();
        assert!(
            !shipped.is_empty(),
            "{path} has no dependencies, which would make this rule hold by accident"
        );
        let names = shipped.lines().filter_map(|line| line.split([' ', '.', '=']).next());
        for name in names.filter(|name| !name.is_empty() && !name.starts_with('#')) {
            let ours = name.starts_with("chainbot") || name == "host-shim";
            let foreign_to_abi = *path == "chainbot-abi/Cargo.toml" && name != "abi_stable";
            if (ours && !allowed.contains(&name)) || foreign_to_abi {
                tree.found.push(("crate", (*path).to_owned(), format!("depends on `{name}`")));
            }
        }
    }
}

/// The named places for faults are those of the list, each written once.
fn fault_points(tree: &mut Tree) {
    let golden = "tests/golden/fault-points.txt";
    let (_, listed) = tree.files.iter().find(|(path, _)| path == golden).expect("the list of places");
    let listed: BTreeSet<String> =
        listed.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let mut written = BTreeSet::new();
    let applies = |path: &str| within(&["chainbot-core/src", "chainbot-plugin/src"])(path) && !is_test(path);
    // The module's second target is a link to its first.
    let sources = tree
        .sources
        .iter()
        .filter(|source| applies(&source.path) && !source.path.ends_with("with_faults.rs"));
    for source in sources {
        for (at, call) in source.code.match_indices("fault!(\"") {
            let rest = &source.code[at + call.len()..];
            let name = rest.split('"').next().unwrap_or_default().to_owned();
            if !written.insert(name.clone()) {
                tree.found.push(("fault-point", source.path.clone(), format!("`{name}` stands twice")));
            }
        }
    }
    for name in written.symmetric_difference(&listed) {
        tree.found.push((
            "fault-point",
            golden.to_owned(),
            format!("`{name}` is in the list or in the code alone"),
        ));
    }
}

#[test]
fn the_tree_keeps_its_rules() {
    assert!(Path::new(root()).join("Cargo.toml").exists());
    let mut tree = Tree::read();
    layers(&mut tree);
    places(&mut tree);
    unsafe_code(&mut tree);
    files(&mut tree);
    limits_have_reasons(&mut tree);
    error_pages(&mut tree);
    crates(&mut tree);
    fault_points(&mut tree);
    tree.finish();
}

#[test]
fn code_is_told_from_comments_and_tests() {
    let text =
        "//! SELECT\nuse a; // SELECT\n    /// todo!\nlet x;\n#[cfg(test)]\nmod tests {\n dbg!();\n}\n";
    assert_eq!(code_of(text), "\nuse a;\n\nlet x;");
    assert!(has_word("a println!(x)", "println!") && !has_word("eprintln!(x)", "println!"));
    assert!(is_test("chainbot-core/src/http/tests/port.rs") && !is_test("src/command/run.rs"));
}
