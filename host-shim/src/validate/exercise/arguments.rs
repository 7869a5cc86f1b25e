//! Wrong arguments of the calls that bring work.

use chainbot_abi::Status;

use super::life::{GRACE, taken};
use crate::validate::arguments::{EventArgs, Field, RequestArgs, wrong_texts};
use crate::validate::bench::{Answer, Bench};
use crate::validate::ledger;
use crate::validate::record::{self, expect};
use crate::validate::routes;

/// Every field of an event and of a request, wrong in every way; and right in unusual ways.
pub fn arguments(bench: &Bench) {
    let Some(subject) = bench.started("event-arguments") else { return };
    let calls = subject.calls();
    let topic = routes::topics(bench).swap_remove(0);
    let event = EventArgs::new(&topic, "{}");
    let refused = |check: &'static str, what: &str, answer: Answer| {
        expect(check, answer.status == Status::INVALID, || {
            format!("`{}` with {what} returned {}, not INVALID", answer.call, answer.show())
        });
        expect(check, answer.is_ok() || !answer.message.is_empty(), || {
            format!("`{}` with {what} gave no message", answer.call)
        });
    };

    let check = "event-arguments";
    refused(check, "a null event", calls.null_event());
    for off in [-8, -(size_of::<chainbot_abi::Event>() as i32)] {
        let short = EventArgs { size_off: off, ..event.clone() };
        refused(check, "a struct_size that is too small", calls.event(&short));
    }
    for (what, wrong) in wrong_texts() {
        let with = |edit: fn(&mut EventArgs) -> &mut Field| {
            let mut event = event.clone();
            *edit(&mut event) = wrong.clone();
            calls.event(&event)
        };
        refused(check, &format!("{what} as topic"), with(|event| &mut event.topic));
        refused(check, &format!("{what} as payload"), with(|event| &mut event.payload));
        refused(check, &format!("{what} as id"), with(|event| &mut event.id));
        refused(check, &format!("{what} as trace"), with(|event| &mut event.trace));
    }
    for payload in ["", "{", "not json", "{} {}", "[1,", "\"\\ud800\"x"] {
        refused(check, "a payload that is not JSON", calls.event(&EventArgs::new(&topic, payload)));
    }
    refused(check, "an empty topic", calls.event(&EventArgs::new("", "{}")));
    let unusual = [
        ("a larger struct_size, as of a later host", EventArgs { size_off: 64, ..event.clone() }),
        ("unknown flags", EventArgs { flags: u32::MAX, ..event.clone() }),
        ("a payload that is a number", EventArgs::new(&topic, "7")),
        (
            "an id and a trace",
            EventArgs {
                id: Field::text("validate-1"),
                trace: Field::text("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                ..event.clone()
            },
        ),
    ];
    for (what, event) in unusual {
        let answer = calls.event(&event);
        expect(check, matches!(answer.status, Status::OK | Status::BUSY), || {
            format!("`handle_event` with {what}: {}", answer.show())
        });
    }

    let check = "webhook-arguments";
    record::at(check);
    let request = routes::requests(bench).swap_remove(0);
    refused(check, "a null request", calls.null_webhook(None));
    refused(check, "a completion without a function", calls.null_webhook(Some(&request)));
    for off in [-8, -(size_of::<chainbot_abi::WebhookRequest>() as i32)] {
        let short = RequestArgs { size_off: off, ..request.clone() };
        refused(check, "a struct_size that is too small", calls.webhook(&short));
    }
    for (what, wrong) in wrong_texts() {
        let with = |edit: fn(&mut RequestArgs) -> &mut Field| {
            let mut request = request.clone();
            *edit(&mut request) = wrong.clone();
            calls.webhook(&request)
        };
        refused(check, &format!("{what} as method"), with(|request| &mut request.method));
        refused(check, &format!("{what} as path"), with(|request| &mut request.path));
        refused(check, &format!("{what} as mount"), with(|request| &mut request.mount));
        refused(check, &format!("{what} as peer"), with(|request| &mut request.peer));
        refused(check, &format!("{what} as headers"), with(|request| &mut request.headers));
        refused(check, &format!("{what} as trace"), with(|request| &mut request.trace));
    }
    refused(
        check,
        "a null body with a length",
        calls.webhook(&RequestArgs { body: Field::Null(9), ..request.clone() }),
    );
    for headers in ["[]", "{", "not json"] {
        let wrong = RequestArgs { headers: Field::text(headers), ..request.clone() };
        refused(check, "headers that are no JSON object", calls.webhook(&wrong));
    }
    let unusual = [
        ("a larger struct_size, as of a later host", RequestArgs { size_off: 64, ..request.clone() }),
        (
            "a body that is not UTF-8",
            RequestArgs { body: Field::Bytes(vec![0xff, 0, 0x80]), ..request.clone() },
        ),
        (
            "several values of a header",
            RequestArgs { headers: Field::text(r#"{"accept":["text/html","*/*"]}"#), ..request.clone() },
        ),
        ("a mount", RequestArgs { mount: Field::text("/m"), ..request.clone() }),
    ];
    for (what, request) in unusual {
        let answer = calls.webhook(&request);
        expect(check, matches!(answer.status, Status::OK | Status::BUSY), || {
            format!("`handle_webhook` with {what}: {}", answer.show())
        });
    }
    // After all of this it still works.
    ledger::wait(0, GRACE);
    taken(check, &calls.webhook(&request));
    ledger::wait(0, GRACE);
    subject.finish(check);
}
