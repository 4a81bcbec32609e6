"""Signatures: who said it, and that nobody changed it.

``algorithms`` signs and verifies bytes, ``jws`` is the format, ``routing`` what of a group's deliveries is bound,
``trees`` how one signature covers many messages.
``sealing`` keeps private keys at rest under a master key (``master`` finds it), ``keys`` is what a process knows of the
stored keys, ``changing`` what operators do with them. docs/security.md says what a signature proves, and against whom.
"""
