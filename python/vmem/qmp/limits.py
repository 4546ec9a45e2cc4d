"""How much of anything a client may use."""

from __future__ import annotations

MESSAGE_BYTES = 64 << 10
"""Of the tokens of one message. QEMU allows 64 MiB; no command here is longer than a line."""

NESTING = 1024
"""Brackets within brackets, as in QEMU."""

CLIENTS = 16
"""That talk to one VM at a time. Others wait until one of them goes."""

UNSENT_BYTES = 1 << 20
"""Events that a client has not read; one that lets more pile up is dropped."""
