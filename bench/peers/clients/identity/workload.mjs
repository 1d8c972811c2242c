// What the SPIFFE Workload API says of this process: JWT-SVIDs and X.509-SVIDs.

import { connect as http2 } from "node:http2";
import { connect as socket } from "node:net";

/// The JWT-SVIDs for `audience`: who this process is, and the statement of it.
export async function fetchJwtSvids(path, audience) {
  const answer = await call(path, "FetchJWTSVID", text(1, audience));
  return (fields(answer).get(1) ?? []).map((svid) => {
    const members = fields(svid);
    return { id: members.get(1)[0].toString(), svid: members.get(2)[0].toString() };
  });
}

/// The JWT-SVID for `audience` as `id`, or as the only agent this process is.
export async function fetchJwtSvid(path, audience, id) {
  return sole(await fetchJwtSvids(path, audience), id);
}

/// The X.509-SVID as `id`: the certificates and the key as PEM.
export async function fetchX509Svid(path, id) {
  const answer = await call(path, "FetchX509SVID", Buffer.alloc(0));
  const svids = (fields(answer).get(1) ?? []).map((svid) => {
    const members = fields(svid);
    return {
      id: members.get(1)[0].toString(),
      cert: certificates(members.get(2)[0]).join(""),
      key: pem("PRIVATE KEY", members.get(3)[0]),
      bundle: certificates(members.get(4)[0]).join(""),
    };
  });
  return sole(svids, id);
}

function sole(svids, id) {
  const found = id === undefined ? svids : svids.filter((svid) => svid.id === id);
  if (found.length !== 1) {
    const known = svids.map((svid) => svid.id).join(", ");
    throw new Error(`the Workload API says this process is: ${known || "nobody"}`);
  }
  return found[0];
}

/// The first message of one gRPC call: a message behind its length, and the same back.
function call(path, method, message) {
  const session = http2("http://localhost", { createConnection: () => socket(path) });
  return new Promise((resolve, reject) => {
    session.on("error", reject);
    const stream = session.request({
      ":method": "POST",
      ":path": `/SpiffeWorkloadAPI/${method}`,
      "content-type": "application/grpc",
      te: "trailers",
      "workload.spiffe.io": "true",
    });
    let answer = Buffer.alloc(0);
    const look = (headers) => {
      const status = headers["grpc-status"];
      if (status !== undefined && status !== "0") {
        reject(new Error(`the Workload API answered ${status}: ${headers["grpc-message"]}`));
      }
    };
    stream.on("response", look);
    stream.on("trailers", look);
    stream.on("data", (chunk) => {
      answer = Buffer.concat([answer, chunk]);
      if (answer.length >= 5 && answer.length >= 5 + answer.readUInt32BE(1)) {
        resolve(answer.subarray(5, 5 + answer.readUInt32BE(1)));
      }
    });
    stream.on("error", reject);
    stream.on("end", () => reject(new Error("the Workload API answered nothing")));
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([head, message]));
  }).finally(() => session.destroy());
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

/// The certificates of a chain that stand one behind the other in DER.
function certificates(der) {
  const found = [];
  for (let at = 0; at < der.length; ) {
    const first = der[at + 1];
    const long = first < 128 ? 0 : first & 127;
    const length = long === 0 ? first : der.readUIntBE(at + 2, long);
    const end = at + 2 + long + length;
    found.push(pem("CERTIFICATE", der.subarray(at, end)));
    at = end;
  }
  return found;
}

function pem(label, der) {
  const lines = der.toString("base64").match(/.{1,64}/g).join("\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
