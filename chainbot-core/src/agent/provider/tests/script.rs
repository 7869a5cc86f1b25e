//! The scripted model.

use super::*;

async fn ask(model: &Scripted, text: &str) -> Result<ModelReply, ModelError> {
    // A turn that stalls waits for this and for nothing else.
    let limits = CallLimits { first: Duration::from_millis(20), ..limits() };
    model.call(&ModelRequest::new("scripted", text, 64), &limits, &mut ()).await
}

#[tokio::test]
async fn a_script_is_played_turn_by_turn() {
    let script = json!([
        { "expect": { "contains": "warm", "messages": 1, "tools": [] }, "text": "It is warm.", "pieces": 3, "input": 10, "output": 4 },
        { "calls": [{ "name": "get_temp", "arguments": { "room": 1 } }, { "name": "now" }] },
        { "error": "rate_limited", "after": 2 },
        { "stall": true },
        { "text": "half", "cut": true },
        { "text": "as far as", "cut_by_bound": true },
    ]);
    let model = Scripted::new(&script).unwrap();
    // What is not expected is an error, and the turn is not used up.
    let error = ask(&model, "cold?").await.expect_err("unexpected");
    assert!(error.class == ModelErrorClass::Refused && error.message.contains("`warm`"), "{error}");
    let mut watch = Watch { seen: Vec::new(), most: usize::MAX };
    let reply = model.call(&ModelRequest::new("scripted", "warm?", 64), &limits(), &mut watch).await.unwrap();
    assert_eq!((reply.text.as_str(), reply.usage.input, watch.seen.len()), ("It is warm.", 10, 3));
    let calls = ask(&model, "x").await.unwrap().calls;
    assert_eq!((calls[0].arguments.as_str(), calls[1].arguments.as_str()), ("{\"room\":1}", "{}"));
    let error = ask(&model, "x").await.expect_err("rate");
    assert_eq!((error.class, error.after), (ModelErrorClass::RateLimited, Some(Duration::from_secs(2))));
    assert_eq!(ask(&model, "x").await.expect_err("stall").class, ModelErrorClass::Timeout);
    assert_eq!(ask(&model, "x").await.expect_err("cut").class, ModelErrorClass::Cut);
    assert_eq!(ask(&model, "x").await.unwrap().stop, Stop::MaxOutput);
    let error = ask(&model, "x").await.expect_err("over");
    assert!(error.message.contains("6 turns"), "{error}");
    assert_eq!(model.requests().len(), 8);
}

#[test]
fn a_script_of_another_shape_is_refused() {
    for wrong in
        [json!({}), json!([{ "txet": "a" }]), json!([{ "error": "unheard-of" }]), json!([{ "calls": [{}] }])]
    {
        assert_eq!(Scripted::new(&wrong).err().map(|error| error.code().id), Some("CB-0503"), "{wrong}");
    }
}
