//! Both formats, odd trees, broken files, and a long file in little memory.

use serde_json::{Value, json};

use super::*;
use crate::port::Speaker;

fn read_in(text: &[u8], piece: usize) -> Result<(Vec<ArchivedMessage>, Report)> {
    let (mut reader, mut all) = (Reader::default(), Vec::new());
    for piece in text.chunks(piece) {
        reader.push(piece, &mut |messages| all.extend(messages))?;
    }
    Ok((all, reader.end()?))
}

/// Read whole and byte by byte, which must be the same.
fn read(value: &Value) -> (Vec<ArchivedMessage>, Report) {
    let text = serde_json::to_vec_pretty(value).unwrap();
    let whole = read_in(&text, text.len()).unwrap();
    assert_eq!(whole, read_in(&text, 1).unwrap());
    whole
}

fn node(parent: Option<&str>, role: &str, text: &str, at: f64) -> Value {
    json!({ "id": "x", "parent": parent, "children": [], "message": { "id": "x", "author": { "role": role, "name": null },
        "create_time": at, "update_time": null, "content": { "content_type": "text", "parts": [text] }, "metadata": {} } })
}

fn chat(mapping: Value, current: &str) -> Value {
    json!([{ "title": "Soil", "create_time": 1_700_000_000.5, "update_time": 1_700_000_100.0, "conversation_id": "c1", "id": "c1",
        "mapping": mapping, "moderation_results": [], "current_node": current, "plugin_ids": null }])
}

fn texts(messages: &[ArchivedMessage]) -> Vec<(&str, bool)> {
    messages.iter().map(|one| (one.text.as_str(), one.is_branch)).collect()
}

#[test]
fn the_way_to_the_current_node_is_the_conversation_and_branches_are_marked() {
    let (messages, report) = read(&chat(
        json!({
            "root": { "id": "root", "message": null, "parent": null, "children": ["a"] },
            "a": node(Some("root"), "user", "Which soil?", 1_700_000_001.25),
            "b": node(Some("a"), "assistant", "Clay.", 1_700_000_002.0),
            "b2": node(Some("a"), "assistant", "Loose soil. \"Quoted\" {[", 1_700_000_003.0),
            "c": node(Some("b2"), "user", "Thanks", 1_700_000_004.0),
        }),
        "c",
    ));
    assert_eq!(
        texts(&messages),
        [("Which soil?", false), ("Loose soil. \"Quoted\" {[", false), ("Thanks", false), ("Clay.", true)]
    );
    assert_eq!(messages[0].at, Some(Timestamp(1_700_000_001_250)));
    assert_eq!((messages[0].speaker, messages[1].speaker), (Speaker::User, Speaker::Assistant));
    assert_eq!((messages[0].conversation.as_str(), messages[0].title.as_str()), ("c1", "Soil"));
    assert_eq!((report.format, report.conversations, report.messages), (Some(Format::Chatgpt), 1, 4));
    assert_eq!((report.on_branches, report.skipped.empty), (1, 1));
    assert_eq!((report.first_at, report.last_at), (messages[0].at, Some(Timestamp(1_700_000_004_000))));
}

#[test]
fn what_is_no_text_is_counted_and_passed_over() {
    let mut hidden = node(Some("a"), "user", "hidden", 1.0);
    hidden["message"]["metadata"]["is_visually_hidden_from_conversation"] = json!(true);
    let mut picture = node(Some("a"), "user", "see this", 1.0);
    picture["message"]["content"] = json!({ "content_type": "multimodal_text", "parts": [{ "content_type": "image_asset_pointer" }, "see this"] });
    let mut code = node(Some("a"), "assistant", "", 1.0);
    code["message"]["content"] = json!({ "content_type": "code", "language": "python", "text": "1" });
    let mut timeless = node(Some("a"), "tool", "result", 1.0);
    timeless["message"]["create_time"] = Value::Null;
    let mut nothing = node(Some("a"), "user", "", 1.0);
    nothing["message"]["content"] = json!({ "content_type": "text", "parts": null });
    let (messages, report) = read(&chat(
        json!({ "g": nothing, "a": node(None, "system", "be nice", 1.0), "b": hidden, "c": picture, "d": code, "e": timeless,
            "f": node(Some("a"), "assistant", "  ", 1.0) }),
        "a",
    ));
    let mut found = texts(&messages);
    found.sort_unstable();
    assert_eq!(found, [("result", true), ("see this", true)]);
    let Skipped { hidden, not_text, without_text, without_time, empty, .. } = report.skipped;
    assert_eq!((hidden, not_text, without_text, without_time, empty), (2, 2, 2, 1, 0));
}

#[test]
fn circles_and_orphans_are_reported_and_end() {
    let circle =
        json!({ "a": node(Some("b"), "user", "one", 1.0), "b": node(Some("a"), "user", "two", 2.0) });
    let (messages, report) = read(&chat(circle, "a"));
    assert_eq!((messages.len(), report.skipped.cycles, report.skipped.orphans), (2, 1, 0));
    // Beside the way.
    let beside = json!({ "a": node(None, "user", "one", 1.0), "b": node(Some("c"), "user", "two", 2.0),
        "c": node(Some("b"), "user", "three", 3.0), "d": node(Some("gone"), "user", "four", 4.0) });
    let (messages, report) = read(&chat(beside, "a"));
    assert_eq!((messages.len(), report.skipped.cycles, report.skipped.orphans), (4, 1, 1));
    assert_eq!(report.on_branches, 3);
    // A current node that is not there: the newest leaf says which way it is.
    let lost = json!({ "a": node(None, "user", "one", 1.0), "b": node(Some("a"), "user", "two", 2.0) });
    assert_eq!(texts(&read(&chat(lost, "gone")).0), [("one", false), ("two", false)]);
}

#[test]
fn the_older_file_is_read_too() {
    let (messages, report) = read(&json!({
        "exported_by": { "name": "chainbot", "conversations": [1] }, "version": "1",
        "conversations": [
            { "id": "c7", "title": "Beans", "created_at": "2024-01-01T00:00:00", "updated_at": null, "metadata": {}, "messages": [
                { "role": "user", "content": "How long?", "timestamp": "2024-01-01T00:00:01" },
                { "role": "assistant", "content": "An hour.", "timestamp": "2024-01-01T01:00:02+01:00" },
                { "role": "system", "content": "x" }, { "role": "user", "content": null }, { "role": "user", "content": [1] }] },
            { "title": "No id", "messages": [{ "role": "user", "content": "x", "timestamp": 1_700_000_000 }] },
            { "title": "No messages" }],
        "after": [[], {}]
    }));
    assert_eq!(messages.len(), 3);
    assert_eq!((messages[0].conversation.as_str(), messages[0].message.as_str()), ("c7", "0"));
    assert_eq!(messages[0].at.unwrap().to_string(), "2024-01-01T00:00:01.000Z");
    assert_eq!(messages[1].at.unwrap().to_string(), "2024-01-01T00:00:02.000Z");
    assert_eq!(messages[2].conversation.len(), 32);
    assert_eq!((report.format, report.conversations), (Some(Format::Chainbot), 2));
    let Skipped { hidden, not_text, without_text, unreadable, .. } = report.skipped;
    assert_eq!((hidden, not_text, without_text, unreadable), (1, 1, 1, 1));
}

#[test]
fn what_is_no_export_is_refused_with_its_place() {
    let check = |text: &str, wanted: &str| {
        let error = read_in(text.as_bytes(), 7).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), &code::EXPORT, "{text}");
        assert!(error.message().contains(wanted), "{text}: {error}");
    };
    check("", "empty");
    check("PK\u{3}\u{4}zip", "zip");
    check("<html>", "byte 0");
    check("[1]", "byte 1");
    check("[{\"mapping\": {}}", "ends early, at byte 16");
    check("[] x", "after the end, at byte 3");
    check("{\"a\": 1}", "no `conversations`");
    check("{\"conversations\": []", "ends early");
    let over = within_bound(crate::limits::ARCHIVE_FILE_BYTES_MAX, b"x").unwrap_err();
    assert_eq!(over.code(), &code::EXPORT_SIZE);
    assert_eq!(read_in(b"\xEF\xBB\xBF []\n", 2).unwrap().1.conversations, 0);
    // Broken inside: that one is passed over.
    assert_eq!(read_in(b"[{\"mapping\": }, {\"mapping\": {}}]", 3).unwrap().1.skipped.unreadable, 1);
}

#[test]
fn a_conversation_over_the_bound_is_passed_over_and_the_next_is_read() {
    let large = format!("[{{\"title\": \"{}\"}},", "x".repeat(crate::limits::ARCHIVE_CONVERSATION_BYTES_MAX));
    let small = chat(json!({ "a": node(None, "user", "here", 1.0) }), "a");
    let text = [large.as_str(), &small.to_string()[1..]].concat();
    let (messages, report) = read_in(text.as_bytes(), 64 * 1024).unwrap();
    assert_eq!((texts(&messages), report.skipped.too_large), (vec![("here", false)], 1));
}

/// Set in the process whose memory is measured.
const CHILD: &str = "CHAINBOT_ARCHIVE_MEMORY";
/// What a reader may add to a process.
const MEMORY_KIB_MAX: u64 = 32 * 1024;

/// A conversation of about so many bytes: questions of a kilobyte, each answer after the one before.
fn long_chat(number: usize, bytes: usize) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "{{\"title\":\"T\",\"conversation_id\":\"c{number}\",\"mapping\":{{\"n0\":{{\"parent\":null,\"message\":null}}"
    );
    let mut last = 0;
    while text.len() + 2_000 < bytes {
        let _ = write!(
            text,
            ",\"n{}\":{{\"parent\":\"n{last}\",\"message\":{{\"author\":{{\"role\":\"user\"}},\"create_time\":1700000000,\
             \"content\":{{\"content_type\":\"text\",\"parts\":[\"{}\"]}}}}}}",
            last + 1,
            "words of all sorts ".repeat(50)
        );
        last += 1;
    }
    let _ = write!(text, "}},\"current_node\":\"n{last}\"}}");
    text
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_long_file_takes_little_memory() {
    if std::env::var_os(CHILD).is_none() {
        let exe = std::env::current_exe().unwrap();
        let name = "agent::memory::archive::tests::a_long_file_takes_little_memory";
        let child = std::process::Command::new(exe)
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(
            child.status.success() && said.contains("KiB more"),
            "{said}{}",
            String::from_utf8_lossy(&child.stderr)
        );
        println!("{said}");
        return;
    }
    let bytes_max = crate::env::proof::size(8, 192) << 20;
    // The largest that are taken, and small ones between.
    let large = crate::limits::ARCHIVE_CONVERSATION_BYTES_MAX - 1_000;
    let chats = [long_chat(1, large), long_chat(2, 20_000), long_chat(3, large / 2)];
    let before = peak_kib();
    let (mut reader, mut messages, mut bytes) = (Reader::default(), 0, 0);
    let mut take = |found: Vec<ArchivedMessage>| messages += found.len();
    reader.push(b"[", &mut take).unwrap();
    for chat in chats.iter().cycle() {
        if bytes > bytes_max {
            break;
        }
        for piece in chat.as_bytes().chunks(64 * 1024) {
            reader.push(piece, &mut take).unwrap();
        }
        reader.push(b",", &mut take).unwrap();
        bytes += chat.len() as u64;
    }
    reader.push(b"]", &mut take).unwrap();
    let (report, more) = (reader.end().unwrap(), peak_kib() - before);
    println!("{} MiB, {messages} messages, {more} KiB more", report.bytes >> 20);
    assert_eq!((report.messages, report.skipped.too_large), (messages as u64, 0));
    assert!(messages > 4_000 && more <= MEMORY_KIB_MAX, "{more} KiB");
}
