// Client credentials with a JWT-SVID: the SDK's own provider for a ready assertion, and the SVID
// from the SPIFFE Workload API.

import { connect as http2 } from "node:http2";
import { connect as socket } from "node:net";

/// The provider: who we are is the assertion, which task it is for is the scope.
export async function credentials(sdk, { workload, issuer, task }) {
  const { id, svid } = await fetchSvid(workload, issuer);
  return new sdk.StaticPrivateKeyJwtProvider({
    clientId: id,
    jwtBearerAssertion: svid,
    scope: `task:${task}`,
    expectedIssuer: issuer,
  });
}

/// The only identity this process has, for `audience`.
async function fetchSvid(path, audience) {
  const session = http2("http://localhost", { createConnection: () => socket(path) });
  try {
    const answer = await unary(session, "/SpiffeWorkloadAPI/FetchJWTSVID", text(1, audience));
    const [svid] = fields(answer).get(1) ?? [];
    if (!svid) throw new Error("the Workload API knows no identity of this process");
    const members = fields(svid);
    return { id: members.get(1)[0].toString(), svid: members.get(2)[0].toString() };
  } finally {
    session.close();
  }
}

/// One gRPC call: a message behind its length, and the same back.
function unary(session, path, message) {
  return new Promise((resolve, reject) => {
    session.on("error", reject);
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      "workload.spiffe.io": "true",
    });
    const chunks = [];
    let status = "";
    const look = (headers) => {
      if (headers["grpc-status"] !== undefined && headers["grpc-status"] !== "0") {
        status = `${headers["grpc-status"]}: ${headers["grpc-message"]}`;
      }
    };
    stream.on("response", look);
    stream.on("trailers", look);
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("end", () => {
      if (status) reject(new Error(`the Workload API answered ${status}`));
      else resolve(Buffer.concat(chunks).subarray(5));
    });
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([head, message]));
  });
}

/// A text as protobuf writes it.
function text(number, value) {
  const bytes = Buffer.from(value);
  if (bytes.length > 127) throw new Error("longer than one byte of length can say");
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
}

/// The fields of a protobuf message that have a length.
function fields(message) {
  const found = new Map();
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    if ((tag & 7) !== 2) {
      varint();
      continue;
    }
    const length = varint();
    const number = tag >> 3;
    found.set(number, [...(found.get(number) ?? []), message.subarray(at, at + length)]);
    at += length;
  }
  return found;
}
