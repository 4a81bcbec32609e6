"""Verification: rules that judge a message before its handler may run.

``verdicts`` is what a rule says and what becomes of it, ``rules`` what a rule is and ``@verification_rule``,
``plugins`` where rules come from, ``settings`` which of them an installation wants, ``running`` runs them under a time
limit, and ``judging`` makes one judgement of a message out of their verdicts. ``builtin/`` holds the rules that come
with Nexus, ``measuring`` tells how good rules are on labelled texts. docs/content.md has it in words.
"""
