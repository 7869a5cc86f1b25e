// Restate, one node, under the work of `make bench-peers` (see README.md beside the folder of the peers).
//
// The server is a process of its own, as it must be; the service and the clients are this one. Settings are the server's
// defaults but for ports, folder and telemetry.

// Of Node.js 22; the SDK asks for it, and older ones are still in use.
Promise.withResolvers ??= () => {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

import { spawn } from "node:child_process";
import http from "node:http";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import * as restate from "@restatedev/restate-sdk";
import { given, load, oneByOne, say } from "./harness.mjs";

const STEPS = 10;
const START_MS_MAX = 60_000;

const bench = restate.service({
  name: "bench",
  handlers: {
    steps: async (ctx) => {
      for (let n = 0; n < STEPS; n++) await ctx.run(`step_${n}`, async () => n);
      return "done";
    },
    fan: async (ctx, width) => {
      const all = Array.from({ length: width }, (_, n) => ctx.run(`step_${n}`, async () => n));
      return (await restate.RestatePromise.all(all)).length;
    },
    pure: async () => {
      let count = 0;
      for (let n = 0; n < STEPS; n++) count = n;
      return count;
    },
  },
});

async function freePort() {
  const server = createServer();
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

const agent = new http.Agent({ keepAlive: true, maxSockets: given("PEER_PARALLEL") });

function request(port, method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const sent = http.request({ host: "127.0.0.1", port, method, path, agent, headers }, (reply) => {
      let text = "";
      reply.on("data", (chunk) => (text += chunk));
      reply.on("end", () => (reply.statusCode < 300 ? resolve(text) : reject(new Error(`${reply.statusCode}: ${text}`))));
    });
    sent.on("error", reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Asks until it answers: a server that is starting refuses connections. */
async function answered(work) {
  const until = Date.now() + START_MS_MAX;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((later) => setTimeout(later, 10));
    }
  }
}

const [ingress, admin, node, service] = [await freePort(), await freePort(), await freePort(), await freePort()];
const program = fileURLToPath(new URL("./node_modules/.bin/restate-server", import.meta.url));
const server = spawn(program, ["--no-logo", "--listen-mode", "tcp"], {
  stdio: ["ignore", "ignore", "inherit"],
  env: {
    ...process.env,
    RESTATE_BASE_DIR: process.env.PEER_FOLDER,
    RESTATE_BIND_IP: "127.0.0.1",
    RESTATE_BIND_PORT: String(node),
    RESTATE_ADVERTISED_HOST: "127.0.0.1",
    RESTATE_INGRESS__BIND_PORT: String(ingress),
    RESTATE_ADMIN__BIND_PORT: String(admin),
    RESTATE_DISABLE_TELEMETRY: "true",
    RESTATE_LOG_FILTER: "error,octocrab=off",
    DO_NOT_TRACK: "1",
  },
});
process.on("exit", () => server.kill());
server.on("exit", (code) => {
  console.error(`restate-server ended with ${code}`);
  process.exit(1);
});
await restate.serve({ services: [bench], port: service });
await answered(() => request(admin, "POST", "/deployments", { uri: `http://127.0.0.1:${service}` }));

const call = (handler, body) => () => request(ingress, "POST", `/bench/${handler}`, body);
await answered(call("steps"));
const { version } = createRequire(import.meta.url)("@restatedev/restate-server/package.json");
await say({
  event: "first", name: "Restate", version, store: "RocksDB in its server",
  durability: "log-server with fsync of its WAL (default), one node, replication 1",
});
await say({ event: "w2", latencies_ms: await oneByOne(20, call("steps")) });
await say(await load("w1", call("steps")));
const width = given("PEER_FAN");
await say({ event: "w3", steps: width, latencies_ms: await oneByOne(3, call("fan", width)) });
await say(await load("w4", call("pure")));
await say({ event: "done" });
server.removeAllListeners("exit");
await new Promise((ended) => server.on("exit", ended).kill());
process.exit(0);
