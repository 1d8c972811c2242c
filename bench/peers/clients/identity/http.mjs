// HTTPS with a client certificate, in the shape of `fetch`: the one thing `fetch` has no option for.

import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";

/// A `fetch` that shows `svid` and trusts `ca`.
export function fetchWith({ cert, key }, ca) {
  const agent = new Agent({ cert, key, ca: readFileSync(ca), keepAlive: false });
  return async (url, { method = "GET", headers = {}, body } = {}) => {
    const sent = new Request(url, { method, headers, body, duplex: "half" });
    const bytes = Buffer.from(await sent.arrayBuffer());
    return exchange(agent, url, method, sent.headers, bytes);
  };
}

function exchange(agent, url, method, headers, bytes) {
  return new Promise((resolve, reject) => {
    const options = { agent, method, headers: Object.fromEntries(headers) };
    const sending = request(new URL(url), options, (answer) => {
      const chunks = [];
      answer.on("data", (chunk) => chunks.push(chunk));
      answer.on("error", reject);
      answer.on("end", () => {
        const shown = new Headers();
        for (const [name, value] of Object.entries(answer.headers)) {
          for (const one of [value].flat()) shown.append(name, one);
        }
        const whole = Buffer.concat(chunks);
        const none = [204, 205, 304].includes(answer.statusCode);
        resolve(new Response(none ? null : whole, { status: answer.statusCode, headers: shown }));
      });
    });
    sending.on("error", reject);
    sending.end(bytes);
  });
}
