// The cases of one program: named first, then looked at one after the other, each told in one line of
// JSON. A case that throws is told with what it threw, and stops none of the others.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

/// What the run tells its programs: addresses, tasks, agents with their keys.
export const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));

const cases = [];

/// One case.
export function test(name, look) {
  cases.push({ name, look });
}

/// Why a case cannot be looked at here. Thrown by it.
export class Skipped extends Error {}

/// Looks at every case.
export async function run() {
  const tell = (line) => console.log(JSON.stringify(line));
  tell({ cases: cases.map(({ name }) => name) });
  for (const { name, look } of cases) {
    try {
      await look();
      tell({ case: name });
    } catch (error) {
      if (error instanceof Skipped) tell({ case: name, skipped: error.message });
      else tell({ case: name, failed: described(error) });
    }
  }
}

/// `look` must fail, and what it fails with must satisfy `is`.
export async function refused(look, is, what) {
  let outcome;
  try {
    outcome = await look();
  } catch (error) {
    if (is(error)) return;
    throw error;
  }
  assert.fail(`${what}, and it was not refused: ${JSON.stringify(outcome)}`);
}

/// Waits until `look` brings something, at most `seconds`.
export async function within(seconds, look, what) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/// An error with its causes and, where it is an answer, what the answer said.
function described(error) {
  const said = [`${error?.name}: ${error?.message}`];
  for (const member of ["error", "error_description", "code", "status"]) {
    if (typeof error?.[member] === "string" || typeof error?.[member] === "number") {
      said.push(`${member}=${error[member]}`);
    }
  }
  const cause = error?.cause;
  if (cause instanceof Error) said.push(`because of ${described(cause)}`);
  else if (cause !== undefined) said.push(shown(cause));
  return said.join("; ").slice(0, 2000);
}

function shown(cause) {
  try {
    return JSON.stringify(cause?.body ?? cause?.parameters ?? cause);
  } catch {
    return String(cause);
  }
}
