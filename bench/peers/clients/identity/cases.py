"""The cases of one program: named first, then looked at one after the other, each told in one line
of JSON. A case that raises is told with what it raised, and stops none of the others.
"""

import json
import subprocess
import sys
import time
import traceback

with open(sys.argv[1], encoding="utf-8") as file:
    plan = json.load(file)

_cases = []


def case(name):
    """One case, by its name."""

    def keep(look):
        _cases.append((name, look))
        return look

    return keep


def run():
    """Looks at every case."""
    tell({"cases": [name for name, _ in _cases]})
    for name, look in _cases:
        try:
            look()
            tell({"case": name})
        except Exception as error:  # noqa: BLE001: whatever it is, it is the outcome
            traceback.print_exc()
            tell({"case": name, "failed": described(error)})


def tell(line):
    print(json.dumps(line), flush=True)


def described(error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    cause = f"; because of {described(error.__cause__)}" if error.__cause__ else ""
    return f"{type(error).__name__}: {error}"[:1500] + cause


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


def refused(look, kinds, what, word=""):
    """`look` must fail with one of `kinds`, which says `word`."""
    try:
        outcome = look()
    except kinds as error:
        expect(word in described(error), f"refused for something else: {described(error)}")
        return
    raise AssertionError(f"{what}, and it was not refused: {outcome}")


def within(seconds, look, what):
    """Waits until `look` brings something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


def carnet(*words):
    """A command of the operator."""
    ended = subprocess.run([*plan["carnet"], *words], capture_output=True, text=True, timeout=60)
    expect(ended.returncode == 0, f"`carnet {' '.join(words)}` failed: {ended.stdout}{ended.stderr}")
    return ended.stdout
