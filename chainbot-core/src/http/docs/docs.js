// The API page: made from the OpenAPI document, in the browser. Text goes into the page as text, never as HTML. A pasted token is
// in its input and in the header of requests, nowhere else; without one a login's cookie is used.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEPTH_MAX = 6;
const SHOWN_MAX = 100000;
// Where the module is mounted: this page is at {root}/docs.
const root = location.pathname.replace(/\/docs$/, "");

const byId = (id) => document.getElementById(id);

function element(name, attributes, ...inner) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...inner.flat().filter((one) => one !== null && one !== undefined));
  return made;
}

// Text with `code` in it.
function prose(text) {
  return (text || "").split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part));
}

function resolved(api, value) {
  let found = value;
  for (let hops = 0; found && found.$ref && hops < DEPTH_MAX; hops += 1) {
    found = found.$ref.slice(2).split("/").reduce((at, key) => at && at[key], api);
  }
  return found || {};
}

function kind(api, given) {
  const schema = resolved(api, given);
  const name = given && given.$ref ? given.$ref.split("/").pop() : "";
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.type === "array") return "list of " + kind(api, schema.items || {});
  const types = [].concat(schema.type || (schema.allOf ? "object" : "any"));
  return [types.join(" or "), schema.format && `(${schema.format})`, name].filter(Boolean).join(" ");
}

function bounds(schema) {
  const names = { minimum: "from", maximum: "to", minLength: "at least", maxLength: "at most", default: "default" };
  return Object.keys(names).filter((key) => schema[key] !== undefined).map((key) => `${names[key]} ${schema[key]}`).join(", ");
}

// The fields of a schema as a list in a list.
function fields(api, given, depth = 0, seen = []) {
  let schema = resolved(api, given);
  if (schema.type === "array") schema = resolved(api, schema.items || {});
  const parts = [schema, ...(schema.allOf || []).map((part) => resolved(api, part))];
  const own = given && (given.$ref || (given.items && given.items.$ref));
  if (depth > DEPTH_MAX || (own && seen.includes(own))) return null;
  const items = parts.flatMap((part) => Object.entries(part.properties || {}).map(([name, field]) => {
    const needed = (part.required || []).includes(name);
    const inner = resolved(api, field);
    return element("li", {},
      element("code", {}, name), " ", element("span", { class: "kind" }, kind(api, field)), " ",
      needed ? element("span", { class: "needed" }, "needed ") : null,
      prose(field.description || inner.description),
      fields(api, field, depth + 1, own ? [...seen, own] : seen));
  }));
  return items.length ? element("ul", { class: "schema" }, items) : null;
}

function parameters(api, operation) {
  if (!(operation.parameters || []).length) return null;
  const rows = operation.parameters.map((one) => element("tr", {},
    element("td", {}, element("code", {}, one.name), one.required ? element("span", { class: "needed" }, " needed") : null),
    element("td", {}, one.in),
    element("td", { class: "kind" }, kind(api, one.schema || {})),
    element("td", {}, prose(one.description), " ", element("span", { class: "muted" }, bounds(one.schema || {})))));
  const head = element("tr", {}, ["name", "in", "type", "meaning"].map((name) => element("th", { scope: "col" }, name)));
  return [element("h3", {}, "Parameters"), element("div", { class: "scroll" }, element("table", {}, head, rows))];
}

const asText = (example) => (typeof example === "string" ? example : JSON.stringify(example, null, 2));

function body(api, operation) {
  if (!operation.requestBody) return null;
  const content = Object.entries(operation.requestBody.content);
  return [
    element("h3", {}, "Body"), element("p", {}, prose(operation.requestBody.description)),
    content.map(([media, about]) => [
      element("p", {}, element("code", {}, media)), fields(api, about.schema), element("pre", {}, asText(about.example)),
    ]),
  ].flat(3);
}

function responses(api, operation) {
  const rows = Object.entries(operation.responses).map(([status, given]) => {
    const response = resolved(api, given);
    const content = Object.entries(response.content || {});
    const headers = Object.keys(response.headers || {}).filter((name) => name !== "X-Request-Id");
    const inner = content.map(([media, about]) => [
      element("span", { class: "muted" }, media + " "), element("span", { class: "kind" }, about.schema ? kind(api, about.schema) : ""),
      status.startsWith("2") ? fields(api, about.schema || {}) : null,
    ]);
    return element("tr", {},
      element("td", {}, element("code", {}, status)),
      element("td", {}, prose(response.description), element("br"), inner.flat(), headers.length ? element("div", { class: "muted" }, "headers: " + headers.join(", ")) : null));
  });
  return [element("h3", {}, "Answers"), element("div", { class: "scroll" }, element("table", {}, rows))];
}

const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

function curl(method, url, media, text) {
  const parts = ["curl", method === "get" ? "" : "-X " + method.toUpperCase(), '-H "Authorization: Bearer $TOKEN"'];
  if (text) parts.push("-H " + quoted("Content-Type: " + media), "--data-binary " + quoted(text));
  return parts.filter(Boolean).concat(quoted(url)).join(" ");
}

// What is filled in as a URL, and what goes with it.
function request(path, form) {
  const value = (name) => (form.elements[name] ? form.elements[name].value : "");
  const filled = path.replaceAll(/\{(\w+)\}/g, (whole, name) => encodeURIComponent(value("path " + name)) || whole);
  const inputs = [...form.elements].filter((one) => one.name && one.value);
  const named = (place) => inputs.filter((one) => one.name.startsWith(place + " ")).map((one) => [one.name.slice(place.length + 1), one.value]);
  const query = new URLSearchParams(named("query")).toString();
  return { url: root + filled + (query ? "?" + query : ""), headers: named("header"), media: value("media"), text: value("body") };
}

async function send(method, path, form, answer) {
  const { url, headers, media, text } = request(path, form);
  const token = byId("token").value.trim();
  const all = new Headers(headers);
  if (token) all.set("Authorization", "Bearer " + token);
  if (text) all.set("Content-Type", media);
  answer.replaceChildren("Waiting…");
  try {
    // With a token the cookie stays at home: a request has one credential.
    const reply = await fetch(url, { method: method.toUpperCase(), headers: all, body: text || undefined, credentials: token ? "omit" : "same-origin" });
    const got = await limited(reply);
    answer.replaceChildren(
      element("p", { class: reply.ok ? "ok" : "wrong" }, `${reply.status} ${reply.statusText}`),
      element("pre", {}, [...reply.headers].map(([name, one]) => `${name}: ${one}`).join("\n")), element("pre", {}, pretty(got)));
  } catch (error) {
    answer.replaceChildren(element("p", { class: "wrong" }, String(error)));
  }
}

// A stream of events does not end, so reading stops at a bound.
async function limited(reply) {
  if (!reply.body) return "";
  const reader = reply.body.getReader();
  const decoder = new TextDecoder();
  const late = new Promise((resolve) => setTimeout(() => resolve({ done: true }), 5000));
  let text = "";
  while (text.length < SHOWN_MAX) {
    const { done, value } = await Promise.race([reader.read(), late]);
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  reader.cancel().catch(() => {});
  return text;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function trying(method, path, operation) {
  const content = Object.entries((operation.requestBody || {}).content || {});
  const inputs = (operation.parameters || []).map((one) => element("label", {}, `${one.name} (${one.in})`,
    element("input", { name: `${one.in} ${one.name}`, required: one.required, autocomplete: "off", spellcheck: "false" })));
  const media = element("select", { name: "media", "aria-label": "Content type" }, content.map(([name]) => element("option", {}, name)));
  const area = element("textarea", { name: "body", "aria-label": "Body", spellcheck: "false" });
  const example = () => { area.value = content.length ? asText(content[media.selectedIndex][1].example) : ""; };
  const answer = element("div", { "aria-live": "polite" });
  const line = element("pre", {});
  const form = element("form", { class: "try" }, inputs, content.length ? [media, area] : null, element("div", {}, element("button", {}, "Send")));
  const show = () => {
    const made = request(path, form);
    line.replaceChildren(curl(method, location.origin + made.url, made.media, made.text));
  };
  media.addEventListener("change", () => { example(); show(); });
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => { event.preventDefault(); send(method, path, form, answer); });
  example();
  show();
  return [element("h3", {}, "curl"), line, element("h3", {}, "Try it"), form, answer];
}

function route(api, path, method, operation) {
  const needs = operation["x-permission"];
  const inner = element("div", {});
  const made = element("details", { class: "route", id: operation.operationId },
    element("summary", {}, element("span", { class: `method ${method}` }, method.toUpperCase()),
      element("span", { class: "path" }, path), element("span", { class: "muted" }, prose(operation.summary))), inner);
  // A hundred routes with all their fields are filled in when they are looked at.
  made.addEventListener("toggle", () => {
    if (!made.open || inner.hasChildNodes()) return;
    const who = needs ? [element("p", { class: "muted" }, "Needs ", element("code", {}, needs))] : [element("p", { class: "muted" }, "Public")];
    inner.append(...[element("p", {}, prose(operation.description)), who, parameters(api, operation), body(api, operation),
      responses(api, operation), trying(method, path, operation)].flat(2).filter(Boolean));
  });
  made.dataset.words = [path, method, operation.summary, needs].join(" ").toLowerCase();
  return made;
}

function show(api) {
  byId("version").replaceChildren(api.info.version);
  const parts = api.tags.map((tag) => {
    const routes = Object.entries(api.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method] && item[method].tags[0] === tag.name)
      .map((method) => route(api, path, method, item[method])));
    return routes.length ? element("section", { "aria-labelledby": "tag-" + tag.name },
      element("h2", { id: "tag-" + tag.name }, tag.name), element("p", { class: "muted" }, prose(tag.description)), routes) : null;
  }).filter(Boolean);
  const links = parts.map((part) => part.querySelector("h2")).map((head) => element("a", { href: "#" + head.id }, head.textContent));
  byId("tags").replaceChildren(...links);
  const about = api.info.description.split("\n\n").map((text) => element("p", {}, prose(text)));
  byId("main").replaceChildren(...about, ...parts);
  byId("find").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/);
    for (const part of parts) {
      const all = [...part.querySelectorAll("details.route")];
      all.forEach((one) => { one.hidden = !words.every((word) => one.dataset.words.includes(word)); });
      part.hidden = all.every((one) => one.hidden);
    }
  });
  const wanted = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (wanted) {
    wanted.open = true;
    wanted.scrollIntoView();
  }
}

async function load() {
  const token = byId("token").value.trim();
  const headers = token ? { Authorization: "Bearer " + token } : {};
  const reply = await fetch(root + "/api/chainbot/openapi.json", { headers, credentials: token ? "omit" : "same-origin" });
  if (!reply.ok) throw new Error(reply.status === 401 ? "Sign in, or paste a token above." : `The document could not be loaded: ${reply.status}`);
  show(await reply.json());
}

function begin() {
  load().catch((error) => byId("note") && byId("note").replaceChildren(error.message));
}

byId("token").addEventListener("change", () => { if (byId("note")) begin(); });
begin();
