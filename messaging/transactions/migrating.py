"""Moving a running saga to another version of its plan.

What has begun is history and must stand in the new plan as it was; what has not may be anything.
"""

from __future__ import annotations

from messaging.transactions.hosting import SagaRecord
from messaging.transactions.moving import SagaMoves
from messaging.transactions.plan import SagaPlan
from messaging.transactions.state import ENDED, RUNNING, SagaState, StepRun


def obstacles(plan: SagaPlan, state: SagaState, target: SagaPlan) -> list[str]:
    """Why a saga cannot be moved; empty where it can.

    Args:
        plan, state: of the saga.
        target: the plan that it is to have.
    """
    if target.name != plan.name:
        return [f"it is a {plan.name!r}, not a {target.name!r}"]
    if target.version == plan.version:
        return [f"it has version {plan.version} already"]
    if state.direction in ENDED:
        return [f"it is {state.direction}"]
    if state.direction != RUNNING:
        return [f"it is {state.direction}: its way back is that of its own plan"]
    found: list[str] = []
    begun = state.stage + 1
    if len(target.stages) < begun:
        return [f"it is in stage {begun}; the new plan has {len(target.stages)}"]
    for number, (before, after) in enumerate(zip(plan.stages[:begun], target.stages, strict=False), 1):
        old, new = {step.name: step for step in before}, {step.name: step for step in after}
        for name in [name for name in old if name not in new]:
            found.append(
                f"step {name!r} of stage {number} is {state.steps[name].state}; the new plan does not have it there"
            )
        for name in [name for name in new if name not in old]:
            found.append(f"step {name!r} would be new in stage {number}, which has begun")
        for name in [name for name in old if name in new]:
            for what in ("kind", "undo", "pivot", "takes"):
                if getattr(old[name], what) != getattr(new[name], what):
                    found.append(f"step {name!r} is {state.steps[name].state}; the new plan changes its {what}")
    return found


def migrate(record: SagaRecord, moves: SagaMoves, target: SagaPlan, reason: str) -> None:
    """Move a saga, or write down why not."""
    problems = obstacles(record.plan, record.state, target)
    detail = {"from": record.plan.version, "to": target.version, "reason": reason}
    if problems:
        moves.note("migrate_refused", detail={**detail, "problems": "; ".join(problems)[:2_000]})
        return
    before, record.plan, record.plan_changed = record.state.steps, target, True
    record.state.steps = {name: before.get(name) or StepRun() for name in target.steps}
    moves.note("migrated", detail=detail)
