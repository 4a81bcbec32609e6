"""The agent that asks the model: leased, through the ledger, so that no delivery is paid for twice.

A call whose worker died in its middle may have been paid for: it is not repeated, and the verdict fails closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from agents.judge import budget
from agents.judge.prompt import conversation, meaning, word_of
from agents.judge.rule import JUDGE, JudgeSettings
from agents.llm.errors import ModelBusy, ModelCutOff, ModelError, ModelRefused
from agents.llm.ledger import INTERRUPTED, LedgeredCall, ledgered
from agents.llm.types import ChatMessage, estimate
from messaging.api import AgentSpec, CircuitOpen, Envelope, HandlerContext, HandlerKind, RetryPolicy, TransientError
from messaging.extension import QUESTION, RuleQuestion, Unanswered, answer_question, database_threads, load_question

Value = TypeVar("Value")

RETRY = RetryPolicy(max_attempts=5, base=2.0, cap=60.0)
"""Of one question, while the model is away."""
ANSWER_TOKENS = 200


async def judge(message: Envelope, context: HandlerContext) -> None:
    """The handler of the agent ``llm-judge``."""
    number, rule = message.data["verdict"], message.data["rule"]
    question = await _in_database(lambda: load_question(number, rule))
    if question is None:
        return  # somebody decided meanwhile
    started = monotonic()
    answer = await _answer(question, context)
    await _in_database(lambda: answer_question(question, answer, monotonic() - started))


async def _answer(question: RuleQuestion, context: HandlerContext) -> object:
    settings: JudgeSettings = question.settings
    asked = conversation(question.subject, settings)
    if asked is None:
        return Unanswered(f"it is longer than the {settings.characters} characters that are judged")
    call = LedgeredCall(id="judge", tool=question.rule, arguments="{}", tells_failures=False)
    try:
        word = await ledgered(context, call, lambda: _ask(question, settings, asked))
    except budget.BudgetUsedUp as error:
        return Unanswered(str(error))
    except TransientError as error:
        if not isinstance(error, ModelCutOff) and not RETRY.exhausted(context.attempt, 0.0):
            raise
        return Unanswered(f"the model gave no answer ({type(error).__name__})")
    except ModelError as error:  # its text may quote the message
        return Unanswered(f"the model refused to answer ({type(error).__name__})")
    if word == INTERRUPTED:
        return Unanswered("its worker died while the model was asked, and it is not asked twice")
    return meaning(word)


async def _ask(question: RuleQuestion, settings: JudgeSettings, asked: list[ChatMessage]) -> str:
    most = estimate(asked, ChatMessage("assistant")).input_tokens + ANSWER_TOKENS
    teams, rule = question.subject.teams, question.rule
    reservation = await _in_database(lambda: budget.reserve(teams, rule, most, settings))
    spent = most  # where nobody knows, all that it may have taken
    try:
        completion = await settings.client.complete(asked)
        spent = completion.usage.input_tokens + completion.usage.output_tokens
    except (CircuitOpen, ModelBusy, ModelRefused):
        spent = 0
        raise
    finally:
        await asyncio.shield(_in_database(lambda: budget.settle(reservation, spent)))
    return word_of(completion.message.content)


async def _in_database(work: Callable[[], Value]) -> Value:
    return await asyncio.wrap_future(database_threads.submit(work))


JUDGE_AGENT = AgentSpec(
    name=JUDGE,
    handler=judge,
    kind=HandlerKind.LEASED,
    retry=RETRY,
    accepts=(QUESTION,),
    timeout=660.0,
    description="Asks a language model about messages, for verification.",
)
