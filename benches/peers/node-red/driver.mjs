// Node-RED, embedded, under the work of `make bench-peers` (see README.md beside the folder of the peers).
//
// Its runtime and the clients share this process; a workflow is a message that goes through ten `change` nodes. Without an
// editor, which would only add memory.

import { createRequire } from "node:module";
import { given, load, oneByOne, say } from "./harness.mjs";

const STEPS = 10;
const require = createRequire(import.meta.url);
const RED = require("node-red");

const ends = new Map();
let next = 0;

const change = (id, to) => ({
  id, type: "change", z: "tab", wires: [[to]], rules: [{ t: "set", p: "count", pt: "msg", to: id, tot: "str" }],
});
const flows = [
  { id: "tab", type: "tab", label: "bench" },
  ...Array.from({ length: STEPS }, (_, n) => change(`step_${n}`, n + 1 < STEPS ? `step_${n + 1}` : "end")),
  { id: "fan_out", type: "split", z: "tab", splt: "\\n", spltType: "str", arraySplt: 1, arraySpltType: "len", wires: [["fan_step"]] },
  change("fan_step", "fan_in"),
  { id: "fan_in", type: "join", z: "tab", mode: "auto", wires: [["end"]] },
  { id: "end", type: "function", z: "tab", func: "global.get('done')(msg);", outputs: 0, wires: [] },
];

RED.init(undefined, {
  httpAdminRoot: false, httpNodeRoot: false, userDir: process.env.PEER_FOLDER, logging: { console: { level: "error" } },
  functionGlobalContext: {
    done: (msg) => {
      ends.get(msg.id)();
      ends.delete(msg.id);
    },
  },
});
const started = new Promise((ready) => RED.events.once("flows:started", ready));
await RED.start();
await started;
const deployed = new Promise((ready) => RED.events.once("flows:started", ready));
await RED.runtime.flows.setFlows({ flows: { flows }, deploymentType: "full" });
await deployed;

const through = (node, payload) => () =>
  new Promise((done) => {
    const id = next++;
    ends.set(id, done);
    RED.nodes.getNode(node).receive({ id, payload });
  });
const steps = through("step_0", "");
await steps();
await say({ event: "first", name: "Node-RED", version: RED.version(), store: "none", durability: "none: a crash loses every message" });
await say({ event: "w2", latencies_ms: await oneByOne(20, steps) });
await say(await load("w1", steps));
const width = given("PEER_FAN");
await say({ event: "w3", steps: width, latencies_ms: await oneByOne(3, through("fan_out", Array.from({ length: width }, (_, n) => n))) });
await say(await load("w4", steps));
await say({ event: "done" });
process.exit(0);
