"""System calls by number."""

from __future__ import annotations

from collections.abc import Callable

from vmem.integrations.linux.file_calls import FileCalls
from vmem.integrations.linux.memory_calls import MemoryCalls
from vmem.integrations.linux.numbers import CALLS, ENOSYS
from vmem.integrations.linux.process_calls import ProcessCalls
from vmem.integrations.linux.user_memory import CallFailed

WORD = 2**64


class SystemCalls:
    """Answers a program's calls. `unknown` are the numbers that got ENOSYS, each once, in their order."""

    def __init__(self, memory: MemoryCalls, files: FileCalls, process: ProcessCalls) -> None:
        named: dict[str, Callable[..., int]] = {}
        for name in CALLS:
            for group in (memory, files, process):
                if hasattr(group, name):
                    named[name] = getattr(group, name)
        named |= dict.fromkeys(("getpid", "gettid", "set_tid_address"), process.identity)
        named |= dict.fromkeys(("getuid", "getgid", "geteuid", "getegid"), process.user)
        named |= dict.fromkeys(("rt_sigaction", "rt_sigprocmask", "sigaltstack"), process.nothing)
        named |= {"set_robust_list": process.nothing, "sched_yield": process.nothing}
        named |= {"exit_group": process.exit, "tkill": process.kill, "access": process.absent}
        named["rseq"] = self._not_here
        self._by_number = {CALLS[name]: call for name, call in named.items()}
        self.unknown: list[int] = []

    def _not_here(self, *_: int) -> int:
        """As a kernel without it; the C library knows how to go on."""
        raise CallFailed(ENOSYS)

    def call(self, number: int, *arguments: int) -> int:
        """What the program finds in RAX, 0 to 2**64 - 1. Ended when it is over."""
        call = self._by_number.get(number)
        try:
            if call is None:
                if number not in self.unknown:
                    self.unknown.append(number)
                raise CallFailed(ENOSYS)
            return call(*arguments) % WORD
        except CallFailed as failed:
            return WORD - failed.errno
