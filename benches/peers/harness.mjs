// What the drivers in JavaScript share: the word to the harness, and the load. See README.md.

import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Tells the harness, and waits until it has looked. */
export async function say(event) {
  process.stdout.write(JSON.stringify(event) + "\n");
  await lines.next();
}

/** A number that the harness gave. */
export const given = (name) => Number(process.env[name]);

/** Milliseconds of one piece of work. */
export async function timed(work) {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

/** Times of several pieces of work, one after another. */
export async function oneByOne(count, work) {
  const latencies = [];
  for (let n = 0; n < count; n++) latencies.push(await timed(work));
  return latencies;
}

/** Clients in a closed loop until the number of workflows or the time is used up. */
export async function load(event, work) {
  let left = given("PEER_WORKFLOWS");
  const begun = performance.now();
  const until = begun + 1e3 * given("PEER_SECONDS");
  const latencies_ms = [];
  const client = async () => {
    while (left > 0 && performance.now() < until) {
      left -= 1;
      latencies_ms.push(await timed(work));
    }
  };
  await Promise.all(Array.from({ length: given("PEER_PARALLEL") }, client));
  return { event, seconds: (performance.now() - begun) / 1e3, latencies_ms };
}
