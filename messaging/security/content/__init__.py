"""Content: what a message may carry, and what is taken out of it before it is signed.

``sanitizing`` walks over the data of a message; ``characters``, ``html``, ``encoded`` and ``matching`` each know one
kind of trouble, ``rules/`` holds patterns as data, ``settings`` what an installation wants, ``loading`` where it says
so. docs/content.md has the rules in words.
"""
