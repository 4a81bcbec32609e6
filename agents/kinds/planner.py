"""A planner: takes a goal apart into steps, has them done one after the other, and reports."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from agents.base import BaseAgent
from agents.kinds.executor import STEP, Step
from agents.kinds.text import MAX_KEPT_BYTES, fit, plain, state_size, text_of
from agents.llm import ChatMessage, ModelClient, ModelGarbled
from agents.llm.asking import ask_model
from messaging.api import Envelope, HandlerContext, HandlerKind, TerminalError
from messaging.extension import get_settings

GOAL = "plan.goal"
Plan = Callable[[str], Sequence[Step] | Awaitable[Sequence[Step]]]
"""Makes the steps of a goal; sync or async."""

STEPS_IN_JSON = (
    "Take the user's goal apart into steps. Answer with a JSON array and nothing else; each item is "
    '{"action": one of the actions below, "arguments": {…}}.\nActions:\n'
)


class _Job(msgspec.Struct):
    """A goal that is being worked on."""

    requester: str
    request: str
    type: str
    steps: list[Step]
    results: list[Any] = []


class PlannerAgent(BaseAgent):
    """Works on one goal of a workflow after the other.

    Send it a ``plan.goal``; its reply is ``{"goal": …, "done": true, "results": […]}``. When a step failed, ``done`` is
    false, ``error`` says why and ``results`` holds what came before. The longest results are cut to texts where they
    would not fit into the reply.

    Args:
        name: unique among all agents and groups.
        plan: makes the steps of a goal; see ``plan_with`` for a model that does.
        executor: the agent that does the steps.
        max_steps: most steps of a goal.
        settings: see ``BaseAgent``.
    """

    accepts = (GOAL, f"{STEP}.reply")
    kind = HandlerKind.LEASED

    def __init__(self, name: str, plan: Plan, *, executor: str, max_steps: int = 50, **settings: Any) -> None:
        super().__init__(name, partners=[executor], **settings)
        self._plan = plan
        self._executor = executor
        self._max_steps = max_steps

    async def handle(self, message: Envelope, context: HandlerContext) -> None:
        if message.type == GOAL:
            await self._begin(message, context)
        elif message.source == self._executor and message.correlationid is not None:
            self._go_on(message.data, context)

    async def _begin(self, message: Envelope, context: HandlerContext) -> None:
        goal = text_of(message.data)

        async def make() -> Sequence[Step]:
            steps = self._plan(goal)
            return await steps if inspect.isawaitable(steps) else steps

        steps = msgspec.convert(await context.once("plan", make), list[Step])
        if len(steps) > self._max_steps:
            raise TerminalError(f"The plan has {len(steps)} steps and may have {self._max_steps}.")
        job = _Job(message.source, str(message.message_id), message.type, steps)
        kept = {"goal": goal, **plain(job)}
        # Half of what is kept is for the results of the goal that is worked on.
        if state_size({"jobs": [*context.state.get("jobs", []), kept]}) > MAX_KEPT_BYTES // 2:
            error = f"{context.agent} has no room for this goal and its plan: shorter ones, or fewer at once."
            context.reply({"goal": _cut(goal), "results": [], "done": False, "error": error})
            return
        context.state.setdefault("jobs", []).append(kept)
        if len(context.state["jobs"]) == 1:
            self._next(context)

    def _go_on(self, answer: Any, context: HandlerContext) -> None:
        jobs = context.state.get("jobs", [])
        if not jobs:
            return
        failed = isinstance(answer, dict) and "error" in answer
        if failed:
            self._report(context, {"done": False, "error": _cut(answer["error"])})
        else:
            jobs[0]["results"].append(answer.get("result") if isinstance(answer, dict) else answer)
            jobs[0]["results"] = fit(jobs[0]["results"], min(MAX_KEPT_BYTES, get_settings().max_message_bytes) // 2)
        self._next(context)

    def _next(self, context: HandlerContext) -> None:
        """Ask for the next step of the first job; report jobs that have none left."""
        jobs = context.state["jobs"]
        while jobs:
            done, steps = len(jobs[0]["results"]), jobs[0]["steps"]
            if done < len(steps):
                context.send(self._executor, STEP, steps[done])
                return
            self._report(context, {"done": True})

    def _report(self, context: HandlerContext, outcome: dict[str, Any]) -> None:
        job = context.state["jobs"].pop(0)
        read = msgspec.convert(job, _Job)
        data = {"goal": _cut(job["goal"]), "results": read.results, **outcome}
        context.send(read.requester, f"{read.type}.reply", data, correlation_id=msgspec.convert(read.request, UUID))


def _cut(value: Any) -> Any:
    """A value that may take an eighth of a message: a report has a goal and an error beside its results."""
    return fit([value], get_settings().max_message_bytes // 8)[0]


def plan_with(client: ModelClient, actions: dict[str, str]) -> Plan:
    """A plan function that asks a model.

    Args:
        client: the model.
        actions: what the executor can do: name → description, with the arguments.
    """
    system = STEPS_IN_JSON + "\n".join(f"- {name}: {description}" for name, description in sorted(actions.items()))

    async def plan(goal: str) -> Sequence[Step]:
        completion = await ask_model(client, [ChatMessage("system", system), ChatMessage("user", goal)])
        text = completion.message.content.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
        try:
            steps = msgspec.json.decode(text, type=list[Step])
        except msgspec.MsgspecError as error:
            raise ModelGarbled(f"The model's plan is no list of steps: {error}. It begins {text[:120]!r}.") from None
        unknown = {step.action for step in steps} - actions.keys()
        if unknown:
            raise ModelGarbled(f"The model's plan has the action {min(unknown)!r}, which does not exist.")
        return steps

    return plan
