//! Hostile spellings of addresses against a trap: a listener on every address of this machine that must stay silent.
//!
//! The trap's port is open to the public internet in these tests, so nothing but the address table stands before it.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use super::super::policy::Rules;
use super::super::testing::{Act, Script, Server, reply};
use super::super::url::{Host, Target};
use super::super::{Egress, Grant, Policy, Request};
use crate::env::Env;

/// Hosts, put into `http://<host>:<port>/`.
const HOSTS: &[&str] = &[
    // 127.0.0.1: decimal, hexadecimal, octal, short, padded, mixed
    "127.0.0.1",
    "2130706433",
    "0x7f000001",
    "0X7F000001",
    "017700000001",
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7f.0x1",
    "0177.1",
    "0177.0.1",
    "0177.0.0.1",
    "0177.0.0.01",
    "00000177.0.0.1",
    "0x7f.0.0.1",
    "0x0000007f.0.0.1",
    "127.0x0.0.1",
    "127.0.0x1",
    "127.00.00.01",
    "0x7f.0.1",
    "0x7f.0x0.0x0.0x1",
    "127.0.0.53",
    "127.127.127.127",
    "127.255.255.254",
    // trailing dots
    "127.0.0.1.",
    "2130706433.",
    "0x7f.1.",
    "127.1.",
    "localhost.",
    // unicode dots, digits and letters, invisible characters, percent signs
    "127。0。0。1",
    "127.0.0。1",
    "127．0．0．1",
    "127｡0｡0｡1",
    "１２７.０.０.１",
    "①②⑦.0.0.1",
    "127.0.0.①",
    "𝟭𝟮𝟳.𝟬.𝟬.𝟭",
    "127.0.0.1\u{200b}",
    "127.0.0.\u{ad}1",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "127.0.0.1%00",
    "127.0.0.1%0d%0a",
    "ｌｏｃａｌｈｏｓｔ",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "local\u{ad}host",
    "loc%61lhost",
    "\u{2060}localhost",
    // names that lead here
    "localhost",
    "LOCALHOST",
    "LocalHost.",
    "foo.localhost",
    "127.0.0.1.nip.io",
    "spoof.example",
    "a_b.example",
    // this machine, unspecified
    "0",
    "0.0.0.0",
    "0x0",
    "00",
    "0.",
    "0.0",
    "0.0.0.1",
    "0x00000000",
    // private, shared, link-local, metadata
    "10.0.0.1",
    "10.1",
    "0xa.1",
    "167772161",
    "012.0.0.1",
    "10.255.255.255",
    "192.168.1.1",
    "192.168.257",
    "3232235777",
    "0xc0a80101",
    "0300.0250.1.1",
    "172.16.0.1",
    "172.31.255.255",
    "0xac.0x10.0.1",
    "2886729729",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "0xa9.0xfe.0xa9.0xfe",
    "169.254.43518",
    "⑯⑨。②⑤④。⑯⑨｡②⑤④",
    "100.64.0.1",
    "1681915905",
    "100.100.100.200",
    // reserved
    "198.18.0.1",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "192.88.99.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "4294967295",
    "0xffffffff",
    // IPv6: loopback, unspecified, compatible, mapped, translated
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::0001]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:7F00:0001]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:192.168.1.1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:0.0.0.0]",
    "[::ffff:100.64.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[::1%25lo]",
    "[::1%lo]",
    // NAT64, 6to4, Teredo
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::127.0.0.1]",
    "[64:ff9b:1:7f00:0:100::]",
    "[2002:7f00:1::]",
    "[2002:7f00:0001::1]",
    "[2002:a00:1::]",
    "[2002:c0a8:101::]",
    "[2002:a9fe:a9fe::]",
    "[2001:0:7f00:1::]",
    "[2001::80ff:fffe]",
    "[2001:0:808:808::80ff:fffe]",
    "[2001:0:808:808:0:0:3f57:fefe]",
    // other ranges of IPv6
    "[fc00::1]",
    "[fd12:3456::1]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[ff01::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[100::1]",
    "[5f00::1]",
    "[4000::1]",
];

/// Whole URLs whose parts are read differently by different parsers; `{p}` is the trap's port.
const URLS: &[&str] = &[
    "http://example.com@127.0.0.1:{p}/",
    "http://a:b@127.0.0.1:{p}/",
    "http://@127.0.0.1:{p}/",
    "http://example.com:80@127.0.0.1:{p}/",
    "http://127.0.0.1:{p}@127.0.0.1:{p}/",
    "http://example.com%40127.0.0.1:{p}/",
    "http://example.com\\@127.0.0.1:{p}/",
    "http:127.0.0.1:{p}/",
    "http:/127.0.0.1:{p}/",
    "http:///127.0.0.1:{p}/",
    "http:\\\\127.0.0.1:{p}\\",
    "http://\\127.0.0.1:{p}/",
    "HTTP://127.0.0.1:{p}/",
    "hTtP://127.0.0.1:{p}",
    "http://127.0.0.1:{p}?a",
    "http://127.0.0.1:{p}#@example.com",
    "http://127.0.0.1:{p}/@example.com",
    "http://127.0.0.1\t:{p}/",
    "http://127.0.0.1:{p}\r\n/",
    "http://127.0.0.1:0{p}/",
    "ht\ntp://127.0.0.1:{p}/",
    " http://127.0.0.1:{p}/",
    "ftp://127.0.0.1:{p}/",
    "gopher://127.0.0.1:{p}/_x",
    "https://127.0.0.1:{p}/",
    "ws://127.0.0.1:{p}/",
    "file://127.0.0.1:{p}/etc/passwd",
];

fn spellings(port: u16) -> Vec<String> {
    let hosts = HOSTS.iter().map(|host| format!("http://{host}:{port}/"));
    let urls = URLS.iter().map(|url| url.replace("{p}", &port.to_string()));
    hosts.chain(urls).collect()
}

/// Listens on all addresses. A connection waits in the backlog until it is counted.
struct Trap(TcpListener);

impl Trap {
    fn new() -> Self {
        // Dual-stack where there is IPv6, else IPv4 alone.
        let listener = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)));
        let listener = listener.unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    fn caught(&self) -> usize {
        std::iter::from_fn(|| self.0.accept().ok()).count()
    }

    /// A way out for which this port is as open as 443.
    fn egress(&self, grants: Vec<Grant>, resolver: Arc<Script>) -> Egress {
        let policy = Policy { grants, public: true, own_addresses: Vec::new() };
        let mut rules = Rules::new(&policy).unwrap();
        rules.open_port(self.port());
        Egress::with_rules(rules, Env::system(), resolver)
    }
}

#[test]
fn there_are_enough_spellings_and_the_trap_works() {
    assert!(spellings(1).len() >= 120, "{}", spellings(1).len());
    let trap = Trap::new();
    assert_eq!(trap.caught(), 0);
    let _connection = std::net::TcpStream::connect(("127.0.0.1", trap.port())).unwrap();
    // The handshake is over before `connect` returns, so the backlog has it.
    assert_eq!(trap.caught(), 1);
}

#[tokio::test]
async fn no_spelling_reaches_the_trap_directly() {
    let trap = Trap::new();
    let egress = trap.egress(Vec::new(), Script::new(&[&["127.0.0.1"]]));
    for url in spellings(trap.port()) {
        for method in ["GET", "POST"] {
            let error = egress.send(Request::new(method, &*url)).await.expect_err(&url);
            assert!(matches!(error.class, "egress" | "invalid"), "{url}: {error}");
        }
        assert_eq!(trap.caught(), 0, "{url}");
    }
}

#[tokio::test]
async fn no_dns_answer_leads_to_the_trap() {
    let trap = Trap::new();
    let mut judged = 0;
    for url in spellings(trap.port()) {
        let Ok(target) = Target::parse(&url) else { continue };
        let Host::Address(ip) = target.host() else { continue };
        let ip = ip.to_string();
        judged += 1;
        // Alone, first, and hidden behind an address that is public.
        for answer in [&[ip.as_str()][..], &[ip.as_str(), "1.1.1.1"], &["1.1.1.1", ip.as_str()]] {
            let egress = trap.egress(Vec::new(), Script::new(&[answer]));
            let request = Request::new("GET", format!("http://innocent.example:{}/", trap.port()));
            let error = egress.send(request).await.expect_err(&ip);
            assert_eq!((error.class, error.code.id), ("egress", "CB-0601"), "{ip}: {error}");
        }
        assert_eq!(trap.caught(), 0, "{ip}");
    }
    assert!(judged >= 100, "{judged}");
}

#[tokio::test]
async fn no_redirect_leads_to_the_trap() {
    let trap = Trap::new();
    let port = trap.port();
    let all = spellings(port);
    let count = all.len();
    let server = Server::start(move |number, _| {
        // A line break in the location would be a header of the server's own making, not a spelling.
        let location = all[number].replace(['\r', '\n'], "");
        Act::Reply(reply(302, &format!("Location: {location}\r\n"), ""))
    })
    .await;
    let grants =
        vec![Grant { host: "start.test".into(), ports: vec![server.address.port()], why: String::new() }];
    let egress = trap.egress(grants, Script::new(&[&["127.0.0.1"]]));
    for i in 0..count {
        let mut request = Request::new("GET", format!("http://start.test:{}/", server.address.port()));
        request.follow_redirects = true;
        let error = egress.send(request).await.expect_err(&spellings(port)[i]);
        assert!(matches!(error.class, "egress" | "invalid"), "{}: {error}", spellings(port)[i]);
        assert_eq!(trap.caught(), 0, "{}", spellings(port)[i]);
    }
    assert_eq!(server.counts().requests, count);
}

#[tokio::test]
async fn a_second_dns_answer_cannot_differ_from_the_checked_one() {
    let server = Server::start(|_, _| Act::Close(reply(200, "Connection: close\r\n", "first"))).await;
    let trap = Trap::new();
    let grants =
        vec![Grant { host: "rebind.test".into(), ports: vec![server.address.port()], why: String::new() }];
    let answers: &[&[&str]] = &[&["127.0.0.1"], &["169.254.169.254"], &["224.0.0.1", "::"]];
    let script = Script::new(answers);
    let egress = trap.egress(grants, script.clone());
    let url = format!("http://rebind.test:{}/", server.address.port());
    assert_eq!(egress.send(Request::new("POST", &*url)).await.unwrap().body, b"first");
    // One question a connection: what was checked is what was connected to.
    assert_eq!(script.asked(), ["rebind.test"]);
    for _ in 0..2 {
        let error = egress.send(Request::new("POST", &*url)).await.expect_err("rebound");
        assert_eq!((error.class, error.code.id), ("egress", "CB-0601"), "{error}");
    }
    assert_eq!(script.asked().len(), 3);
    assert_eq!(server.counts().connections, 1);
}

#[tokio::test]
async fn a_grant_of_an_address_is_not_a_grant_of_names_that_lead_there() {
    let server = Server::start(|_, _| Act::Reply(reply(200, "", ""))).await;
    let trap = Trap::new();
    let port = server.address.port();
    let grants = vec![Grant { host: "127.0.0.1".into(), ports: vec![port], why: String::new() }];
    let mut rules = Rules::new(&Policy { grants, public: true, own_addresses: Vec::new() }).unwrap();
    rules.open_port(port);
    let egress = Egress::with_rules(rules, Env::system(), Script::new(&[&["127.0.0.1"]]));
    // Every spelling of the granted address is that address; a name is not.
    assert!(egress.send(Request::new("GET", format!("http://0x7f.1:{port}/"))).await.is_ok());
    let error =
        egress.send(Request::new("GET", format!("http://evil.example:{port}/"))).await.expect_err("name");
    assert_eq!(error.code.id, "CB-0601");
    assert_eq!((server.counts().connections, trap.caught()), (1, 0));
}
