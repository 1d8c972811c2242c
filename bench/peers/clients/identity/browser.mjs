// A browser with nothing in it but cookies and forms, and the person before it.
//
// It follows redirects, sends the forms it is shown as a person who agrees would, logs in with an identity
// provider where a page offers one, and else confirms the code that Carnet shows on the command line.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { plan } from "./cases.mjs";

const PAGES_MAX = 60;
const PAUSE_MS = 200;
/// What the person writes where a page asks for it.
const WRITTEN = { login: plan.provider?.subject, password: "no password is checked here" };

/// Opens `url` and goes on until it would leave for `goal`: the address it would leave for. The origins
/// on the way are put into `visited`.
export async function browse(url, goal, visited = []) {
  const cookies = new Map();
  const confirmed = new Set();
  let next = { url: new URL(url), method: "GET" };
  for (let page = 0; page < PAGES_MAX; page++) {
    visited.push(next.url.origin);
    const answer = await load(next, cookies);
    const at = answer.headers.get("location");
    if (answer.status >= 300 && answer.status < 400 && at) {
      const to = new URL(at, next.url);
      if (to.href.startsWith(goal)) return to;
      next = { url: to, method: "GET" };
      continue;
    }
    const text = await answer.text();
    if (answer.status !== 200) throw new Error(`${next.url.pathname} answered ${answer.status}: ${plain(text)}`);
    const away = form(text, next.url) ?? link(text, next.url);
    if (!away) await confirm(text, confirmed);
    next = away ?? (await again(text, next.url));
    if (!next) throw new Error(`a page that leads nowhere: ${plain(text)}`);
  }
  throw new Error(`${PAGES_MAX} pages, and no end`);
}

async function load({ url, method, body }, cookies) {
  const jar = cookies.get(url.origin) ?? new Map();
  cookies.set(url.origin, jar);
  const headers = new Headers({ accept: "text/html" });
  if (jar.size) headers.set("cookie", [...jar].map(([name, value]) => `${name}=${value}`).join("; "));
  if (method === "POST") headers.set("origin", url.origin);
  const answer = await fetch(url, { method, headers, body, redirect: "manual" });
  for (const line of answer.headers.getSetCookie()) {
    const [, name, value] = line.match(/^([^=]+)=([^;]*)/) ?? [];
    if (/max-age=0|expires=Thu, 01 Jan 1970/i.test(line)) jar.delete(name);
    else if (name) jar.set(name, value);
  }
  return answer;
}

/// The person confirms the code of a page that tells of `carnet login CODE`.
async function confirm(text, confirmed) {
  const code = plain(text).match(/carnet login ([A-Z0-9-]{6,})/i)?.[1];
  if (!code || confirmed.has(code)) return;
  confirmed.add(code);
  const [program, ...words] = plan.carnet;
  await promisify(execFile)(program, [...words, "login", code, "--yes"]);
}

/// The form of a page, filled in by somebody who agrees.
function form(text, base) {
  for (const [, attributes, inside] of text.matchAll(/<form([^>]*)>([\s\S]*?)<\/form>/gi)) {
    const fields = new URLSearchParams();
    for (const [, input] of inside.matchAll(/<input([^>]*)>/gi)) {
      const name = attribute(input, "name");
      if (name && attribute(input, "type") !== "submit") {
        fields.set(name, attribute(input, "value") ?? WRITTEN[name] ?? "");
      }
    }
    const buttons = [...inside.matchAll(/<button([^>]*)>|<input([^>]*type="?submit[^>]*)>/gi)];
    const shown = buttons.map(([, button, input]) => button ?? input);
    const yes = shown.find((button) => !/deny|cancel|\bno\b/i.test(button));
    if (yes && attribute(yes, "name")) fields.set(attribute(yes, "name"), attribute(yes, "value") ?? "");
    const url = new URL(attribute(attributes, "action") ?? "", base);
    if (attribute(attributes, "method")?.toUpperCase() === "POST") return { url, method: "POST", body: fields };
    url.search = fields;
    return { url, method: "GET" };
  }
  return undefined;
}

/// Where a page offers to log in with somebody else.
function link(text, base) {
  const [, attributes] = text.match(/<a([^>]*)>Log in with /) ?? [];
  return attributes && { url: new URL(attribute(attributes, "href"), base), method: "GET" };
}

/// Where a page that waits is looked at again.
async function again(text, base) {
  const refresh = text.match(/<meta[^>]*http-equiv="?refresh"?[^>]*content="([^"]*)"/i)?.[1];
  if (refresh === undefined) return undefined;
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  const to = decoded(refresh).match(/url=(.*)$/i)?.[1] ?? "";
  return { url: new URL(to, base), method: "GET" };
}

function attribute(tag, name) {
  const found = tag.match(new RegExp(`\\b${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s>]+))`, "i"));
  return found && decoded(found[1] ?? found[2] ?? found[3]);
}

function decoded(text) {
  const known = { amp: "&", lt: "<", gt: ">", quot: '"' };
  return text.replace(/&(amp|lt|gt|quot);/g, (_, name) => known[name]).replace(/&#(\d+);|&#x([0-9a-f]+);/gi, (_, ten, hex) => String.fromCodePoint(ten ? Number(ten) : parseInt(hex, 16)));
}

function plain(text) {
  return decoded(text.replace(/<style[\s\S]*?<\/style>/gi, "").replace(/<[^>]*>/g, " ")).replace(/\s+/g, " ").trim().slice(0, 1500);
}
