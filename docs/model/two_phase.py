"""Two-phase commit, small enough to try every interleaving. Transitions are named after the code.

What is real in it: the run's row with votes and decision, the participants' databases, workers and connections that die
between any two steps, messages that come again, the relay, a database that is restored from a backup of the moment
when the run was started. What is left out: time (whatever may be due may happen at any moment, or never).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

IDLE, WORKING, LOCKING, PREPARED, COMMITTED, ROLLED_BACK = (
    "idle",
    "working",
    "locking",
    "prepared",
    "committed",
    "rolled back",
)


class Branch(NamedTuple):
    """A participant: its database, and what the coordinator's database knows of it."""

    database: str = IDLE
    locked: bool = False
    """The run's row is locked while it prepares."""
    answer: str = ""
    """yes or no: its vote, on the way."""
    vote: str = ""
    """The vote, as the coordinator noted it."""
    ended: bool = False
    """As the coordinator noted it."""


class Run(NamedTuple):
    """Everything."""

    branches: tuple[Branch, ...]
    decision: str = ""
    in_doubt: bool = False
    told: bool = False
    """Only with the planted bug: participants act on a decision that is not stored."""
    faults: int = 2
    restores: int = 1
    failures: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoPhaseRules:
    """What is checked.

    Args:
        participants: how many.
        faults: deaths and lost connections altogether.
        restores: of the coordinator's database.
        failures: transactions that fail.
        bugs: planted ones, see ``TWO_PHASE_BUGS``.
    """

    participants: int = 2
    faults: int = 2
    restores: int = 1
    failures: int = 1
    bugs: frozenset[str] = frozenset()


TWO_PHASE_BUGS = {
    "vote before prepare": "a participant votes yes, then prepares",
    "false yes": "a failed transaction answers PREPARE with ROLLBACK, and that counts as a yes",
    "commit without durable decision": "participants are told to commit before the decision is stored",
    "one yes is enough": "commit is decided with the first yes",
    "in progress taken for gone": "an abort takes a PREPARE under way for rolled back, and nobody looks for orphans",
    "presume abort after a restore": "a restored coordinator takes 'no decision' for an abort",
    "decision forgotten": "the row is removed when the first participant has ended",
}

TwoPhaseStep = tuple[str, bool, Run]


def first_run(rules: TwoPhaseRules) -> Run:
    """The run is started and its row stored; nothing has happened."""
    return Run((Branch(),) * rules.participants, faults=rules.faults, restores=rules.restores, failures=rules.failures)


def run_is_done(run: Run) -> bool:
    """Whether it is decided, everybody ended, and nothing is prepared or under way."""
    settled = (IDLE, COMMITTED, ROLLED_BACK)
    return bool(run.decision) and all(each.ended and each.database in settled for each in run.branches)


def run_is_broken(run: Run) -> str:
    """What is wrong, or nothing."""
    states = {each.database for each in run.branches}
    if COMMITTED in states and ROLLED_BACK in states:
        return "one has committed and another has rolled back"
    if run.decision == "commit" and any(each.ended and each.database != COMMITTED for each in run.branches):
        return "committed, and a participant has nothing of it"
    if run.decision == "abort" and COMMITTED in states:
        return "aborted, and a participant has committed"
    return ""


def two_phase_steps(run: Run, rules: TwoPhaseRules) -> Iterator[TwoPhaseStep]:
    """Every step that can follow."""
    for index in range(len(run.branches)):
        yield from _preparing(run, rules, index)
        yield from _ending(run, rules, index)
        yield from _dying(run, index)
    if not any(each.locked for each in run.branches):
        yield from _deciding(run, rules)
    if run.restores:
        forgotten = tuple(each._replace(answer="", vote="", ended=False, locked=False) for each in run.branches)
        doubt = "presume abort after a restore" not in rules.bugs
        restored = run._replace(decision="", branches=forgotten, in_doubt=doubt, restores=run.restores - 1)
        yield "the coordinator's database is restored", True, restored


def _with(run: Run, index: int, **changes: object) -> Run:
    branches = list(run.branches)
    branches[index] = branches[index]._replace(**changes)  # type: ignore[arg-type]
    return run._replace(branches=tuple(branches))


def _preparing(run: Run, rules: TwoPhaseRules, index: int) -> Iterator[TwoPhaseStep]:
    branch, refused = run.branches[index], bool(run.decision) or run.in_doubt
    if not branch.answer and branch.database == IDLE:
        if refused:
            yield f"check_undecided({index}): no", False, _with(run, index, answer="no")
        else:
            answer = "yes" if "vote before prepare" in rules.bugs else ""
            yield f"prepared.prepare({index}) works", False, _with(run, index, database=WORKING, answer=answer)
            if run.failures:
                failed = run._replace(failures=run.failures - 1)
                vote = "yes" if "false yes" in rules.bugs else "no"
                yield f"the transaction of {index} fails", False, _with(failed, index, answer=vote)
    if not branch.answer and branch.database == PREPARED:
        yield f"is_prepared({index}): yes", False, _with(run, index, answer="yes")
    if not branch.answer and branch.database in (COMMITTED, ROLLED_BACK):
        yield f"fate({index}): no", False, _with(run, index, answer="no")
    if branch.database == WORKING:
        if refused:
            yield f"undecided({index}): no", False, _with(run, index, database=IDLE, answer=branch.answer or "no")
        elif not any(each.locked for each in run.branches):
            yield f"undecided({index})", False, _with(run, index, database=LOCKING, locked=True)
    if branch.database == LOCKING:
        yield f"PREPARE TRANSACTION({index})", False, _with(run, index, database=PREPARED, locked=False)


def _deciding(run: Run, rules: TwoPhaseRules) -> Iterator[TwoPhaseStep]:
    """What locks the run's row: the coordinator, the relay, an operator."""
    for index, branch in enumerate(run.branches):
        if branch.answer and not branch.vote:
            voted = _with(run, index, vote=branch.answer)
            votes = [each.vote for each in voted.branches]
            if not run.decision and not run.in_doubt:
                enough = any if "one yes is enough" in rules.bugs else all
                if branch.answer == "no":
                    voted = voted._replace(decision="abort")
                elif enough(vote == "yes" for vote in votes):
                    if "commit without durable decision" in rules.bugs and not run.told:
                        yield f"told to commit by {index}", False, run._replace(told=True)
                    voted = voted._replace(decision="commit")
            yield f"coordinator.handle(vote of {index})", False, voted
    if not run.decision and not run.in_doubt:
        yield "recovering.abort_overdue", False, run._replace(decision="abort")
    if run.in_doubt and not run.decision:  # somebody looked: a database that has committed, or rolled back, shows it
        found = "commit" if any(each.database == COMMITTED for each in run.branches) else "abort"
        yield f"operating.resolve({found})", False, run._replace(decision=found, in_doubt=False)


def _ending(run: Run, rules: TwoPhaseRules, index: int) -> Iterator[TwoPhaseStep]:
    branch = run.branches[index]
    if run.told and branch.database == PREPARED:
        yield f"COMMIT PREPARED({index})", False, _with(run, index, database=COMMITTED)
    if not run.decision:
        return
    wanted = COMMITTED if run.decision == "commit" else ROLLED_BACK
    careless = "in progress taken for gone" in rules.bugs
    if branch.database == PREPARED and (not branch.ended or not careless):
        step = "end_orphans" if branch.ended else "prepared.finish"
        yield f"{step}({index})", False, _with(run, index, database=wanted)
    if not branch.ended and (branch.database not in (PREPARED, LOCKING) or (careless and branch.database == LOCKING)):
        noted = _with(run, index, ended=True)
        if "decision forgotten" in rules.bugs and run.decision == "commit":
            noted = noted._replace(decision="")
        yield f"RunChange.end_branch({index})", False, noted


def _dying(run: Run, index: int) -> Iterator[TwoPhaseStep]:
    branch, poorer = run.branches[index], run._replace(faults=run.faults - 1)
    if not run.faults:
        return
    if branch.database in (WORKING, LOCKING):
        yield f"the worker of {index} dies", True, _with(poorer, index, database=IDLE, locked=False)
    if branch.database == LOCKING:
        yield (
            f"the worker of {index} dies, PREPARE arrives",
            True,
            _with(poorer, index, database=PREPARED, locked=False),
        )
    if branch.locked:
        yield f"{index} loses its lock on the run", True, _with(poorer, index, database=LOCKING, locked=False)
