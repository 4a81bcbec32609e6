"""What a rule is.

```python
from messaging.security.verification.rules import verification_rule
from messaging.security.verification.verdicts import Objection, VerdictAction

@verification_rule("no-shouting", version=1, may=[VerdictAction.FLAG])
def no_shouting(subject, settings):
    for pointer, text in subject.texts:
        if len(text) > 20 and text.isupper():
            return Objection(VerdictAction.FLAG, "all in capitals", pointer)
    return None
```
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs

from messaging.core.errors import ContentRulesError
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Objection, VerdictAction

RuleFunction = Callable[[VerificationSubject, Any], "Objection | None"]
Prepare = Callable[[Mapping[str, Any]], Any]
Clean = Callable[[VerificationSubject, Any], Any]
_is_rule_name = re.compile(r"[a-z][a-z0-9-]{0,59}").fullmatch
NOTHING: Mapping[str, Any] = {"type": "object", "additionalProperties": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRule:
    """A rule. Calling it calls its function.

    Args:
        name: unique among the rules of an installation.
        version: raised whenever the rule may judge otherwise; stored with every verdict.
        function: called with the message and the prepared settings. It must look at nothing else: no database, no
            network. It may run in another thread than the message's handler.
        may: the actions that it may ask for; another one is a lie.
        schema: JSON Schema of its settings.
        defaults: of its settings.
        prepare: makes what the function gets of the settings: compiles, or holds what is remembered between messages.
        clean: called like the function, returns data without what it objects to; None: the text of the evidence goes.
        outside: the agent that is asked in place of the function, which is never called; it answers after the batch
            (``messaging.recovery.questions``), and the message waits in its position meanwhile. What is sent to that
            agent itself is not judged by the rule. Empty: the function answers.
        description: for people.

    Raises:
        ContentRulesError: one of them cannot be.
    """

    name: str
    version: int
    function: RuleFunction
    may: frozenset[VerdictAction]
    schema: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    prepare: Prepare | None = None
    clean: Clean | None = None
    outside: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        if not _is_rule_name(self.name):
            raise ContentRulesError(f"the rule {self.name[:80]!r}: expected a name of a-z, 0-9 and '-'")
        if type(self.version) is not int or self.version < 1:
            raise ContentRulesError(f"the rule {self.name!r}: expected a version from 1, got {self.version!r}")
        if not self.may or VerdictAction.ACCEPT in self.may:
            raise ContentRulesError(f"the rule {self.name!r}: 'may' needs an action, and 'accept' is None")
        try:
            jsonschema_rs.Draft202012Validator(dict(self.schema))
        except ValueError as error:
            raise ContentRulesError(f"the rule {self.name!r}: its settings' schema is none: {error}") from None

    def __call__(self, subject: VerificationSubject, settings: Any) -> Objection | None:
        return self.function(subject, settings)

    def settings_for(self, chosen: Mapping[str, Any]) -> Any:
        """What the function gets.

        Args:
            chosen: settings; what is missing is the default's.

        Raises:
            ContentRulesError: they do not follow the schema; says where and what is expected.
        """
        merged = {**self.defaults, **chosen}
        for error in jsonschema_rs.Draft202012Validator(dict(self.schema)).iter_errors(merged):
            path = ".".join(str(part) for part in error.instance_path)
            raise ContentRulesError(error.message[:300], path=path)
        return merged if self.prepare is None else self.prepare(merged)


def verification_rule(
    name: str,
    *,
    version: int,
    may: Iterable[VerdictAction],
    schema: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    prepare: Prepare | None = None,
    clean: Clean | None = None,
) -> Callable[[RuleFunction], VerificationRule]:
    """Make a rule of a function; the arguments are those of ``VerificationRule``, its docstring the description.

    Raises:
        ContentRulesError: one of the arguments cannot be.
    """

    def decorate(function: RuleFunction) -> VerificationRule:
        return VerificationRule(
            name=name,
            version=version,
            function=function,
            may=frozenset(may),
            schema=NOTHING if schema is None else schema,
            defaults=defaults or {},
            prepare=prepare,
            clean=clean,
            description=(function.__doc__ or "").strip().split("\n")[0],
        )

    return decorate
