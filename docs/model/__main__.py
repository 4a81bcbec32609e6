"""``python -m docs.model``: check the protocol, and that the checker finds every planted bug."""

from __future__ import annotations

import argparse
import sys
from time import monotonic

from docs.model.checker import check, check_signing, check_two_phase
from docs.model.signing import SIGNING_BUGS, SigningRules, signing_with
from docs.model.two_phase import TWO_PHASE_BUGS, TwoPhaseRules
from docs.model.world import BUGS, Rules, planted

SIZES: dict[str, Rules] = {
    "transactional": Rules(faults=1, copies=1),
    "transactional, skip": Rules(faults=1, copies=1, skip=True),
    "leased": Rules(faults=1, copies=1, failures=0, leased=True),
    "refused": Rules(workers=1, faults=1, copies=1, failures=0, denials=1),
    "refused, skip": Rules(workers=1, faults=1, copies=1, failures=0, denials=1, skip=True),
    "leased, a failure": Rules(faults=1, copies=1, leased=True, workers=1),
    "refused, two workers": Rules(faults=0, copies=1, failures=0, denials=1),
    "refused, two workers, skip": Rules(faults=0, copies=1, failures=0, denials=1, skip=True),
    "refused, leased": Rules(faults=0, copies=1, failures=0, denials=1, leased=True),
    "two copies, two faults": Rules(),
    "three faults": Rules(faults=3, failures=0),
    "three messages, one worker": Rules(messages=3, workers=1, faults=1, failures=0, copies=1),
}
SMALL = 5
"""How many of them take seconds."""

TWO_PHASE_SIZES: dict[str, TwoPhaseRules] = {
    "two-phase commit": TwoPhaseRules(),
    "two-phase commit, three participants": TwoPhaseRules(participants=3),
}

SIGNING_SIZES: dict[str, SigningRules] = {
    "signatures": SigningRules(),
    "signatures, revocation parks": SigningRules(park=True),
    "signatures, three messages": SigningRules(messages=3),
}


def main() -> int:
    """Check everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs.model", description=__doc__)
    parser.add_argument("--small", action="store_true", help="only the small sizes, as the tests do")
    parser.add_argument("--most-states", type=int, default=2_000_000)
    chosen = parser.parse_args()
    failed = False
    for name, rules in list(SIZES.items())[: SMALL if chosen.small else None]:
        began = monotonic()
        result = check(rules, most_states=chosen.most_states)
        failed = failed or bool(result.problem)
        print(f"{name:<34} {result.states:>8} states {monotonic() - began:6.1f} s   {result.problem or 'holds'}")
        for step in result.trace:
            print(f"    {step}")
    for bug in BUGS:
        result = check(planted(bug), most_states=chosen.most_states)
        failed = failed or not result.problem
        print(f"planted: {bug:<35} found in {len(result.trace):>2} steps: {result.problem or 'NOT FOUND'}")
    for name, size in list(TWO_PHASE_SIZES.items())[: 1 if chosen.small else None]:
        result = check_two_phase(size, most_states=chosen.most_states)
        failed = failed or bool(result.problem)
        print(f"{name:<38} {result.states:>8} states   {result.problem or 'holds'}")
    for bug in TWO_PHASE_BUGS:
        result = check_two_phase(TwoPhaseRules(bugs=frozenset({bug})), most_states=chosen.most_states)
        failed = failed or not result.problem
        print(f"planted: {bug:<32} found in {len(result.trace):>2} steps: {result.problem or 'NOT FOUND'}")
    for name, signing in list(SIGNING_SIZES.items())[: 1 if chosen.small else None]:
        result = check_signing(signing, most_states=chosen.most_states)
        failed = failed or bool(result.problem)
        print(f"{name:<38} {result.states:>8} states   {result.problem or 'holds'}")
        for step in result.trace:
            print(f"    {step}")
    for bug in SIGNING_BUGS:
        result = check_signing(signing_with(bug), most_states=chosen.most_states)
        failed = failed or not result.problem
        print(f"planted: {bug:<32} found in {len(result.trace):>2} steps: {result.problem or 'NOT FOUND'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
