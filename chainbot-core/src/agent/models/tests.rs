//! Calls against scripts and a virtual clock: what is tried again, what waits, who is asked in whose place, and what it costs.

mod faults;
mod keys;
mod limits;
mod probing;

use serde_json::{Value, json};

use super::*;
use crate::agent::provider::{Delta, DeltaSink, ModelRequest, ToolChoice, ToolOffer};
use crate::env::{SeededRandom, VirtualClock};
use crate::net::testing::egress_to;
use crate::port::{OpenSecret, SecretText};

/// A minute is enough for what does not wait.
const WITHIN: Duration = Duration::from_secs(60);

/// Keys by name, with the hosts they may go to.
#[derive(Default)]
pub(super) struct Keys(pub BTreeMap<String, (String, Vec<String>)>);

impl Secrets for Keys {
    fn open(&self, _: Option<crate::id::UserId>, name: &str) -> Result<OpenSecret> {
        let (value, hosts) = self.0.get(name).cloned().ok_or_else(|| {
            crate::Error::new(&crate::error::code::secret::NOT_FOUND, format!("there is no secret `{name}`"))
        })?;
        Ok(OpenSecret { value: SecretText::new(value), hosts })
    }

    fn redact(&self, _: &str) -> Option<String> {
        None
    }
}

/// Models over a clock that moves only by waits.
pub(super) struct Bench {
    pub models: Models,
    pub clock: Arc<VirtualClock>,
    pub meters: Arc<Meters>,
    waits: Arc<Mutex<Vec<Duration>>>,
}

impl Bench {
    pub fn new(settings: ModelSettings, egress: Egress, keys: Keys) -> Self {
        let clock = Arc::new(VirtualClock::default());
        let env = Env::new(clock.clone(), Arc::new(SeededRandom::new(7)));
        let waits: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let pause: Pause = {
            let (clock, waits) = (clock.clone(), waits.clone());
            Arc::new(move |time| {
                clock.advance(time);
                waits.lock().push(time);
                Box::pin(std::future::ready(()))
            })
        };
        let meters = Arc::<Meters>::default();
        let models = Models::new(ModelsOptions {
            settings,
            presets: Vec::new(),
            probes: Vec::new(),
            store: None,
            egress: Arc::new(egress),
            secrets: Arc::new(keys),
            env,
            meters: meters.clone(),
            pause,
        })
        .unwrap();
        Self { models, clock, meters, waits }
    }

    /// Scripts by name, each a server with one model of the same name; the first is the default one and the others stand in its place.
    pub fn scripts(scripts: &[(&str, Value)]) -> Self {
        Self::new(settings(scripts), egress_to(&[]), Keys::default())
    }

    pub async fn pinned(&self, name: &str) -> Pinned {
        self.models.resolve(name, Needs::Text).await.unwrap()
    }

    pub async fn ask(&self, request: &ModelRequest) -> std::result::Result<ModelAnswer, ModelError> {
        self.models.call(&self.pinned("default").await, request, WITHIN, &mut ()).await
    }

    fn waits(&self) -> Vec<Duration> {
        std::mem::take(&mut self.waits.lock())
    }

    /// How the calls of a model ended.
    fn counts(&self, model: &str) -> ModelCountsOf {
        let all = self.meters.models.get();
        let counts = all.into_iter().find(|((_, of), _)| of == model).map(|(_, counts)| counts);
        let counts = counts.unwrap_or_default();
        (counts.calls.into_iter().collect(), counts.fallbacks)
    }
}

type ModelCountsOf = (Vec<(&'static str, u64)>, u64);

pub(super) fn setup(name: &str, provider: &str) -> ModelSetup {
    ModelSetup {
        name: name.into(),
        provider: provider.into(),
        model: format!("{name}-1"),
        context: 4_096,
        dialect: None,
        price: Price { input: 1_000_000, cached: 0, output: 2_000_000 },
        max_output: 100,
        temperature: None,
        after_result: AfterResult::Continue,
        salvage: false,
    }
}

fn settings(scripts: &[(&str, Value)]) -> ModelSettings {
    let provider = |(name, turns): &(&str, Value)| ProviderSetup {
        name: (*name).into(),
        kind: ProviderKind::Scripted,
        base_url: String::new(),
        api_key: None,
        script: Some(turns.clone()),
        limits: ProviderLimits::default(),
    };
    let (first, others) = scripts.split_first().unwrap();
    ModelSettings {
        default: Some(first.0.into()),
        providers: scripts.iter().map(provider).collect(),
        models: scripts.iter().map(|(name, _)| setup(name, name)).collect(),
        fallback: [(first.0.to_owned(), others.iter().map(|(name, _)| (*name).to_owned()).collect())].into(),
    }
}

pub(super) fn request(text: &str) -> ModelRequest {
    ModelRequest { idempotency_key: "call".into(), ..ModelRequest::new("", text, 50) }
}

pub(super) fn with_tool(choice: ToolChoice) -> ModelRequest {
    let tool =
        ToolOffer { name: "look".into(), description: "Looks.".into(), schema: json!({ "type": "object" }) };
    ModelRequest { tools: vec![tool], tool_choice: choice, ..request("look") }
}

fn said(text: &str) -> Value {
    json!({ "text": text, "input": 10, "output": 5 })
}

/// Effects are carried out by whichever thread is free.
#[tokio::test]
async fn a_call_may_go_from_thread_to_thread() {
    fn check<T: Send>(future: T) -> T {
        future
    }
    let bench = Bench::scripts(&[("home", json!([said("yes")]))]);
    let (pinned, request) = (bench.pinned("home").await, request("hi"));
    let mut nobody = ();
    let answer = check(bench.models.call(&pinned, &request, WITHIN, &mut nobody)).await.unwrap();
    assert_eq!(answer.reply.text, "yes");
}

#[tokio::test]
async fn an_unknown_name_is_an_error_and_never_another_model() {
    let bench = Bench::scripts(&[("home", json!([])), ("smart", json!([]))]);
    assert_eq!(bench.pinned("default").await.name, "home");
    for (name, hint) in [("smrt", "did you mean `smart`?"), ("gpt", "there are: home, smart")] {
        let error = bench.models.resolve(name, Needs::Text).await.expect_err(name);
        assert_eq!((error.code().id, error.class), ("CB-1211", ModelErrorClass::Unknown));
        assert!(error.message.contains(hint), "{error}");
    }
    bench.models.set(ModelSettings::default(), Vec::new()).unwrap();
    let error = bench.models.find("default").expect_err("none");
    assert!(error.message.contains("models.default"), "{error}");
}

#[tokio::test]
async fn what_may_pass_is_tried_again_after_a_wait_and_counted_once() {
    let turns = json!([{ "error": "overloaded" }, { "error": "rate_limited", "after": 2 }, said("yes")]);
    let bench = Bench::scripts(&[("home", turns)]);
    let answer = bench.ask(&request("hi")).await.unwrap();
    assert_eq!((answer.reply.text.as_str(), answer.tries, answer.fell_back_from), ("yes", 3, None));
    assert_eq!((answer.provider.as_str(), answer.model.as_str(), answer.cost_micros), ("home", "home", 20));
    let waits = bench.waits();
    assert!(waits[0] <= Duration::from_millis(500), "a random part of the first wait: {waits:?}");
    assert!((2_000..=3_000).contains(&waits[1].as_millis()), "as the server wants: {waits:?}");
    assert_eq!(bench.counts("home").0, [("ok", 1), ("overloaded", 1), ("rate_limited", 1)]);
    // The wire has the pinned name and the bounds; a key that is the same on every try.
    let pinned = bench.pinned("home").await;
    assert_eq!((pinned.model.as_str(), pinned.max_output), ("home-1", 100));
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    for class in ["auth", "refused", "model_invalid", "too_large", "context_exceeded"] {
        let bench = Bench::scripts(&[
            ("home", json!([{ "error": class }, said("no")])),
            ("other", json!([said("no")])),
        ]);
        let error = bench.ask(&request("hi")).await.expect_err(class);
        assert_eq!(error.class.as_str(), class);
        assert_eq!((bench.waits().len(), bench.counts("other")), (0, (Vec::new(), 0)), "{class}");
    }
}

#[tokio::test]
async fn another_model_is_asked_when_the_server_fails() {
    for class in ["connect", "timeout", "overloaded", "rate_limited"] {
        let failing = json!([{ "error": class }, { "error": class }, { "error": class }]);
        let bench = Bench::scripts(&[
            ("home", failing),
            ("broken", json!([{ "error": "auth" }])),
            ("spare", json!([said("here")])),
        ]);
        let answer = bench.ask(&request("hi")).await.unwrap();
        assert_eq!((answer.reply.text.as_str(), answer.model.as_str()), ("here", "spare"), "{class}");
        assert_eq!(answer.fell_back_from.as_deref(), Some("home"));
        // A slow model is not asked for as long again; what may pass is.
        assert_eq!(answer.tries, if class == "timeout" { 3 } else { 5 }, "{class}");
        assert_eq!(bench.counts("home").1, 2);
    }
}

#[tokio::test]
async fn the_error_is_the_first_models_and_names_the_others() {
    let bench =
        Bench::scripts(&[("home", json!([{ "error": "timeout" }])), ("spare", json!([{ "error": "auth" }]))]);
    let error = bench.ask(&request("hi")).await.expect_err("none answers");
    assert_eq!(error.class, ModelErrorClass::Timeout);
    assert!(error.message.contains("in its place `spare`"), "{error}");
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_left_to_others() {
    let bench = Bench::scripts(&[
        ("home", json!([{ "error": "rate_limited", "after": 61 }, said("late")])),
        ("spare", json!([said("here")])),
    ]);
    assert_eq!(bench.ask(&request("hi")).await.unwrap().model, "spare");
    assert_eq!(bench.waits(), []);
    // Within the bound, and over the time that the caller has.
    let bench = Bench::scripts(&[("home", json!([{ "error": "rate_limited", "after": 30 }, said("late")]))]);
    let pinned = bench.pinned("home").await;
    let error =
        bench.models.call(&pinned, &request("hi"), Duration::from_secs(20), &mut ()).await.expect_err("late");
    assert_eq!((error.class, error.after), (ModelErrorClass::RateLimited, Some(Duration::from_secs(30))));
    assert_eq!(bench.waits(), []);
}

/// Remembers the pieces.
#[derive(Default)]
struct Seen(Vec<Delta>);

impl DeltaSink for Seen {
    fn delta(&mut self, delta: &Delta) -> std::ops::ControlFlow<()> {
        self.0.push(delta.clone());
        std::ops::ControlFlow::Continue(())
    }
}

#[tokio::test]
async fn a_cut_answer_is_paid_for_and_what_was_shown_of_it_is_taken_back() {
    let cut = json!({ "text": "half", "cut": true, "input": 100, "output": 50 });
    let bench = Bench::scripts(&[("home", json!([cut, said("whole")]))]);
    let mut seen = Seen::default();
    let pinned = bench.pinned("home").await;
    let answer = bench.models.call(&pinned, &request("hi"), WITHIN, &mut seen).await.unwrap();
    assert_eq!(seen.0, [Delta::Text("half".into()), Delta::Again, Delta::Text("whole".into())]);
    assert_eq!((answer.usage.input, answer.usage.output), (110, 55));
    assert_eq!((answer.reply.usage.input, answer.cost_micros), (10, 100 + 2 * 50 + 10 + 2 * 5));
    // And when there is no answer in the end.
    let bench = Bench::scripts(&[("home", json!([cut, cut, cut]))]);
    let error = bench.ask(&request("hi")).await.expect_err("cut");
    let usage = error.usage.unwrap();
    assert_eq!((error.class, usage.input, usage.output), (ModelErrorClass::Cut, 300, 150));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_the_sizes_and_never_sent() {
    let bench = Bench::scripts(&[("home", json!([said("no")])), ("spare", json!([said("no")]))]);
    let error = bench.ask(&request(&"word ".repeat(3_000))).await.expect_err("too large");
    assert_eq!(
        (error.class, error.code().id, error.usage),
        (ModelErrorClass::ContextExceeded, "CB-1206", None)
    );
    for size in ["5008", "50", "`home` has 4096"] {
        assert!(error.message.contains(size), "{error}");
    }
    assert_eq!(bench.counts("home").0, []);
    // Beside the prompt there is room for the answer.
    assert!(bench.ask(&request(&"a".repeat(3 * (4_096 - 50 - 8)))).await.is_ok());
}

#[tokio::test]
async fn a_server_that_ignores_that_a_tool_must_be_called_is_held_to_a_schema() {
    for choice in [ToolChoice::Required, ToolChoice::Named("look".into())] {
        let held = json!({ "text": r#"{"tool": "look", "with": {}}"#, "input": 20, "output": 5 });
        let bench = Bench::scripts(&[("home", json!([said("I will."), held]))]);
        let answer = bench.ask(&with_tool(choice)).await.unwrap();
        assert_eq!(
            (answer.reply.calls[0].name.as_str(), answer.choice_ignored, answer.tries),
            ("look", true, 2)
        );
        assert_eq!(answer.usage.input, 30, "both are paid for");
        assert_eq!(bench.meters.models.get()[0].1.choices_ignored, 1);
    }
    let bench = Bench::scripts(&[("home", json!([said("I need no tool.")]))]);
    let answer = bench.ask(&with_tool(ToolChoice::Auto)).await.unwrap();
    assert_eq!((answer.choice_ignored, answer.tries), (false, 1), "where it may call it need not");
}

#[tokio::test]
async fn a_later_configuration_counts_for_servers_and_not_for_what_is_pinned() {
    let bench = Bench::scripts(&[("home", json!([said("one"), said("two")]))]);
    let pinned = bench.pinned("home").await;
    let mut other = settings(&[("home", json!([said("one"), said("two")]))]);
    other.models[0].price = Price { input: 9_000_000, ..Price::default() };
    bench.models.set(other, Vec::new()).unwrap();
    let ask = || async { bench.models.call(&pinned, &request("hi"), WITHIN, &mut ()).await.unwrap() };
    assert_eq!(ask().await.cost_micros, 20, "the pinned price");
    assert_eq!(ask().await.reply.text, "two", "a server that did not change goes on where it was");
    bench.models.set(ModelSettings::default(), Vec::new()).unwrap();
    let error = bench.models.call(&pinned, &request("hi"), WITHIN, &mut ()).await.expect_err("gone");
    assert_eq!(error.class, ModelErrorClass::Unknown);
}
