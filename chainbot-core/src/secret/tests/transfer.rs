//! Secrets as a file of their own: what arrives, what is refused and changes nothing, what is written down.

use super::*;
use crate::port::{AccountOp, AuditFilter, HashText, Op, StoredUser};
use crate::store::commit;
use crate::time::Timestamp;

const PHRASE: &str = "correct horse battery";

fn phrase(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

async fn user(bench: &Bench, id: UserId, name: &str) {
    let user = StoredUser {
        id,
        name: name.to_owned(),
        role: Role::Editor,
        is_active: true,
        password: HashText("$argon2id$none".to_owned()),
        must_change: false,
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
        seen_at: None,
    };
    commit(&*bench.store, vec![Op::Account(Box::new(AccountOp::UserPut(user)))]).await.unwrap();
}

/// The audit rows of an action, as `id meta`, oldest first.
fn audited(bench: &Bench, action: &str) -> Vec<String> {
    let filter = AuditFilter { action: Some(action.to_owned()), limit: 100, ..AuditFilter::default() };
    let page = bench.store.audit(&filter).unwrap();
    let mut rows: Vec<_> = page
        .items
        .iter()
        .map(|row| format!("{} {}", row.target_id, row.meta.as_deref().unwrap_or("-")))
        .collect();
    rows.reverse();
    rows
}

/// All that an import could change.
fn state(bench: &Bench) -> (Vec<crate::port::StoredSecret>, Vec<String>) {
    (crate::port::SecretRows::secrets(&*bench.store).unwrap(), audited(bench, "secret.import"))
}

#[tokio::test]
async fn secrets_arrive_on_another_machine_with_all_that_is_said_of_them() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (open(from.path()), open(to.path()));
    assert_eq!(code(from.vault.export(&phrase(PHRASE)).await), "CB-1000", "there are none");
    let described = NewSecret { description: Some("of the mail".to_owned()), ..secret(CANARY, &["h.test"]) };
    from.vault.set(&Scope::All, "a", secret("an older value", &[])).await.unwrap();
    from.vault.set(&Scope::All, "a", described).await.unwrap();
    from.vault.set(&Scope::All, "b", secret("line one\nline \u{1}two\u{fc}", &[])).await.unwrap();
    assert_eq!(code(from.vault.export(&phrase("too short")).await), "CB-0856");
    assert!(audited(&from, "secret.export").is_empty(), "nothing left");
    let (bytes, count) = from.vault.export(&phrase(PHRASE)).await.unwrap();
    assert_eq!(count, 2);
    assert_eq!(audited(&from, "secret.export"), [r#"a {"version":2}"#, r#"b {"version":1}"#]);
    for hidden in [CANARY, "line one", PHRASE, "of the mail"] {
        assert!(!bytes.windows(hidden.len()).any(|part| part == hidden.as_bytes()), "{hidden}");
    }
    let brought = to.vault.import(&bytes, &phrase(PHRASE), &Import::default()).await.unwrap();
    assert_eq!(brought, Brought { added: vec!["a".to_owned(), "b".to_owned()], replaced: Vec::new() });
    assert_eq!(value(&to.vault, "a").unwrap(), CANARY);
    assert_eq!(value(&to.vault, "b").unwrap(), "line one\nline \u{1}two\u{fc}");
    let [a, b] = &to.vault.list(&Scope::All)[..] else { panic!("two") };
    assert_eq!((a.version, b.version, a.description.as_deref()), (2, 1, Some("of the mail")));
    assert_eq!((a.hosts.as_slice(), a.is_readable), (&["h.test".to_owned()][..], true));
    assert_eq!(to.vault.redact(&format!("<{CANARY}>")).as_deref(), Some("<***>"), "known at once");
    assert_eq!(
        audited(&to, "secret.import"),
        [r#"a {"hosts":["h.test"],"version":2}"#, r#"b {"hosts":[],"version":1}"#]
    );
    // Two exports have nothing in common: salt and nonce are drawn for each.
    let (again, _) = from.vault.export(&phrase(PHRASE)).await.unwrap();
    assert_ne!(bytes[200..], again[200..]);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told_and_changes_nothing() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let to_path = to.path();
    let (from, to) = (open(from.path()), open(to_path));
    from.vault.set(&Scope::All, "a", secret(CANARY, &["h.test"])).await.unwrap();
    let (bytes, _) = from.vault.export(&phrase(PHRASE)).await.unwrap();
    let before = state(&to);
    let import = async |bytes: &[u8], text: &str| {
        let imported = to.vault.import(bytes, &phrase(text), &Import::default()).await;
        imported.err().map(|error| error.code().id)
    };
    assert_eq!(import(&bytes, "correct horse batterz").await, Some("CB-0856"));
    for end in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        assert_eq!(import(&bytes[..end], PHRASE).await, Some("CB-1008"), "cut to {end} bytes");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let refused = import(&flipped, PHRASE).await;
            // One bit makes the form 1 a later one as well.
            let expected = if at == 17 { ["CB-1008", "CB-0402"] } else { ["CB-1008"; 2] };
            assert!(refused.is_some_and(|code| expected.contains(&code)), "bit {bit} of {at}: {refused:?}");
        }
    }
    let text = String::from_utf8(bytes.clone()).unwrap();
    let later = text.replacen("chainbot-secrets 1 ", "chainbot-secrets 2 ", 1);
    assert_eq!(import(later.as_bytes(), PHRASE).await, Some("CB-0402"));
    assert_eq!(import(text.replacen('\n', "\r\n", 1).as_bytes(), PHRASE).await, Some("CB-1008"));
    // What a file may ask of this machine has bounds, also when its hash is right.
    let costly = |from: &str, to: &str| {
        let (_, rest) = text.split_once('\n').unwrap();
        let rest = rest.replacen(from, to, 1);
        assert_ne!(rest, text.split_once('\n').unwrap().1, "{from}");
        let hash = blake3::hash(rest.strip_suffix('\n').unwrap().as_bytes());
        format!("chainbot-secrets 1 {}\n{rest}", hash.to_hex())
    };
    for (from, to) in [
        (r#""memory_kib": 65536"#, r#""memory_kib": 4000000"#),
        (r#""passes": 3"#, r#""passes": 4000"#),
        (r#""lanes": 1"#, r#""lanes": 64"#),
        (r#""format": 1"#, r#""format": 2"#),
        (r#""salt""#, r#""more": 1, "salt""#),
        (r#""nonce": ""#, r#""nonce": "AAAA"#),
    ] {
        assert_eq!(import(costly(from, to).as_bytes(), PHRASE).await, Some("CB-1008"), "{to}");
    }
    let long = [bytes.as_slice(), &vec![b' '; 17 * 1024 * 1024]].concat();
    assert_eq!(import(&long, PHRASE).await, Some("CB-1008"));
    assert_eq!(state(&to), before);
    assert!(!to_path.join(KEY_FILE).exists(), "not even a key was made");
    assert_eq!(import(&bytes, PHRASE).await, None, "and the file itself is good");
}

#[tokio::test]
async fn names_that_are_taken_and_owners_who_are_not_here_need_a_word() {
    let (mia, ben) = (UserId::from([1; 16]), UserId::from([2; 16]));
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (open(from.path()), open(to.path()));
    let of = |user| Scope::Of { user: Some(user), role: Role::Editor };
    from.vault.set(&Scope::All, "house", secret(CANARY, &[])).await.unwrap();
    from.vault.set(&of(mia), "hers", secret("of mia only", &[])).await.unwrap();
    let (bytes, _) = from.vault.export(&phrase(PHRASE)).await.unwrap();
    user(&to, ben, "ben").await;
    to.vault.set(&of(ben), "house", secret("this was his", &[])).await.unwrap();
    let before = state(&to);
    let import = async |is_replacing: bool, owner: Option<&str>| {
        let how = Import { is_replacing, owner: owner.map(str::to_owned) };
        to.vault.import(&bytes, &phrase(PHRASE), &how).await
    };
    let taken = import(false, Some("ben")).await.unwrap_err();
    assert!(taken.code().id == "CB-1009" && taken.message().contains("house"), "{taken}");
    let orphan = import(true, None).await.unwrap_err();
    assert!(orphan.code().id == "CB-1009" && orphan.message().contains("hers"), "{orphan}");
    let nobody = import(true, Some("bem")).await.unwrap_err();
    assert!(nobody.code().id == "CB-0346" && nobody.remedy().unwrap().contains("ben"), "{nobody}");
    assert_eq!(state(&to), before);
    let brought = import(true, Some("ben")).await.unwrap();
    assert_eq!(
        (&brought.added[..], &brought.replaced[..]),
        (&["hers".to_owned()][..], &["house".to_owned()][..])
    );
    let [hers, house] = &to.vault.list(&Scope::All)[..] else { panic!("two") };
    assert_eq!(
        (hers.owner, house.owner, house.version),
        (Some(ben), Some(ben), 2),
        "a name stays its owner's"
    );
    assert_eq!(to.vault.open(Some(ben), "house").unwrap().value.reveal(), CANARY);
    assert_eq!(code(to.vault.open(None, "hers")), "CB-1000", "not everybody's");
    // Where she is, hers stays hers.
    let home = tempfile::tempdir().unwrap();
    let home = open(home.path());
    user(&home, mia, "mia").await;
    home.vault.import(&bytes, &phrase(PHRASE), &Import::default()).await.unwrap();
    assert_eq!(home.vault.open(Some(mia), "hers").unwrap().value.reveal(), "of mia only");
    assert_eq!(code(home.vault.open(Some(ben), "hers")), "CB-1000");
}

#[tokio::test]
async fn without_its_key_nothing_is_exported_and_nothing_comes_over_what_is_sealed() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bench = open(dir.path());
    bench.vault.set(&Scope::All, "a", secret(CANARY, &[])).await.unwrap();
    let (bytes, _) = bench.vault.export(&phrase(PHRASE)).await.unwrap();
    bench.store.close();
    drop(bench);
    std::fs::remove_file(dir.path().join(KEY_FILE)).unwrap();
    let bench = open(dir.path());
    assert_eq!(code(bench.vault.export(&phrase(PHRASE)).await), "CB-1001");
    let how = Import { is_replacing: true, owner: None };
    assert_eq!(code(bench.vault.import(&bytes, &phrase(PHRASE), &how).await), "CB-1001");
    assert!(!dir.path().join(KEY_FILE).exists(), "a fresh key would hide that the old one is lost");
    assert_eq!(open(other.path()).vault.import(&bytes, &phrase(PHRASE), &how).await.unwrap().added, ["a"]);
}
