"""A transfer between two databases, for tests with real processes; named by NEXUS_AGENTS.

TWO_PHASE_TOKENS names a folder. A token is a file ``<step>.<victim>.<number>``: whoever reaches that step and manages
to remove one kills the victim there, by SIGKILL: ``process``, which is itself, or a bank, whose pid file
TWO_PHASE_<ALIAS> names.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from messaging.api import BranchRequest, TwoPhase, VoteNo
from messaging.testing.servers import proctree
from messaging.transactions.two_phase import recovering, steps
from messaging.transactions.two_phase.steps import ProtocolStep

REFUSED = 10
"""Each tenth transfer is refused by bank-b."""

TOKENS = Path(os.environ.get("TWO_PHASE_TOKENS", "/nowhere"))


def make_tokens(folder: Path, turn: int) -> None:
    """For every step of the protocol: a death of the process that reached it; in each second turn one of a bank too."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, step in enumerate(ProtocolStep):
        (folder / f"{step}.process.{turn}").touch()
        if turn % 2 == 0:
            (folder / f"{step}.{('bank_a', 'bank_b')[(number + turn // 2) % 2]}.{turn}").touch()


def _die(step: ProtocolStep) -> None:
    for token in sorted(TOKENS.glob(f"{step}.*")):
        victim = token.name.split(".")[1]
        try:
            token.unlink()
        except FileNotFoundError:  # another process took it
            continue
        if victim == "process":
            os.kill(os.getpid(), signal.SIGKILL)
        with suppress(OSError, ValueError, IndexError):  # it is down already
            for pid in proctree.members_of_session(
                int(Path(os.environ[f"TWO_PHASE_{victim.upper()}"]).read_text().split()[0])
            ):
                proctree.send(pid, signal.SIGKILL)
        return


def _move(request: BranchRequest) -> None:
    amount = -1 if request.participant == "bank-a" else 1
    request.execute("INSERT INTO movement (run, amount) VALUES (%s, %s)", [str(request.run), amount])
    if amount > 0 and request.input["number"] % REFUSED == 0:
        raise VoteNo("refused")


if os.environ.get("TWO_PHASE_TOKENS"):
    recovering.REPEAT_AFTER = 1.0
    recovering.ORPHAN_AGE = 5.0
    steps.listen(_die)

TRANSFER = (
    TwoPhase("test-transfer", timeout=float(os.environ.get("TWO_PHASE_TIMEOUT", "20")))
    .participant("bank-a", database="bank_a", work=_move)
    .participant("bank-b", database="bank_b", work=_move)
)
if os.environ.get("TWO_PHASE_BANK_A"):
    TRANSFER.register()
