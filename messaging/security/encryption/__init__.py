"""Data that broker and database are not to read: encrypted before their envelope is signed, opened once it is verified.

What is encrypted is a JWE in compact form (RFC 7516). Its keys lie in the database like signing keys, sealed under the
master key (``signatures.sealing``).
"""
