"""An engine of Unicorn in the state in which a kernel would begin a process: long mode, ring 3."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

from vmem.errors import ConfigError

FUNCTIONS = (
    *("uc_emu_start", "uc_emu_stop", "uc_reg_read", "uc_reg_write"),
    *("uc_mem_map_ptr", "uc_mmio_map", "uc_hook_add", "uc_ctl"),
)
USER_CODE, USER_DATA = 0x33, 0x2B
"""Linux's selectors (arch/x86/include/asm/segment.h)."""
_DESCRIPTORS = {
    USER_DATA & ~7: struct.pack("<HHBBBB", 0xFFFF, 0, 0, 0xF3, 0xCF, 0),
    USER_CODE & ~7: struct.pack("<HHBBBB", 0xFFFF, 0, 0, 0xFB, 0xAF, 0),
}
"""SDM vol. 3, 3.4.5: data and 64-bit code of ring 3."""
_OSFXSR, _OSXMMEXCPT = 1 << 9, 1 << 10
"""CR4: the kernel knows of SSE (SDM vol. 3, 2.5)."""
_STUB = 1 << 51
"""Where Unicorn has the page that only the way to ring 3 needs."""
_IRETQ = bytes.fromhex("48cf")


def create_engine() -> Any:
    """A `unicorn.Uc` for 64-bit user code. ConfigError without the package unicorn, or with an old one.

    The processor is a Nehalem: the newest that Unicorn knows and emulates whole. Later ones have AVX, which
    it says they have and does not execute.
    """
    try:
        import unicorn as uc
        from unicorn import x86_const as x86
    except ImportError as error:
        raise ConfigError(
            f"{error}; running machine code needs it: pip install 'vmem-sim[unicorn]'"
        ) from None
    if (uc.UC_API_MAJOR, uc.UC_API_MINOR) < (2, 1):
        raise ConfigError(f"unicorn {uc.__version__}; accepted is 2.1 or later")
    engine: Any = uc.Uc(uc.UC_ARCH_X86, uc.UC_MODE_64)
    engine.ctl_set_cpu_model(x86.UC_CPU_X86_NEHALEM)
    engine.ctl_set_tlb_mode(uc.UC_TLB_VIRTUAL)
    engine.reg_write(x86.UC_X86_REG_CR4, engine.reg_read(x86.UC_X86_REG_CR4) | _OSFXSR | _OSXMMEXCPT)
    _enter_ring_3(engine, uc, x86)
    return engine


def _enter_ring_3(engine: Any, uc: Any, x86: Any) -> None:
    """By IRETQ, the one way in which Unicorn changes rings: it reads a stack and descriptors, on one page."""
    table, code, stack = 0, 0x800, 0x900
    page = bytearray(4096)
    for selector, descriptor in _DESCRIPTORS.items():
        page[table + selector : table + selector + 8] = descriptor
    page[code : code + len(_IRETQ)] = _IRETQ
    page[stack : stack + 40] = struct.pack("<5Q", 0, USER_CODE, 0x202, 0, USER_DATA)
    engine.mem_map(_STUB, len(page))
    engine.mem_write(_STUB, bytes(page))

    def fill(_engine: Any, _address: int, _access: int, entry: Any, _data: Any) -> bool:
        entry.paddr, entry.perms = _STUB, uc.UC_PROT_ALL
        return True

    hook = engine.hook_add(uc.UC_HOOK_TLB_FILL, fill)
    engine.reg_write(x86.UC_X86_REG_GDTR, (0, table, max(_DESCRIPTORS) + 7, 0))
    engine.reg_write(x86.UC_X86_REG_RSP, stack)
    engine.emu_start(code, 0, count=1)
    engine.hook_del(hook)
    engine.mem_unmap(_STUB, len(page))


def functions() -> dict[str, int]:
    """The addresses of Unicorn's C functions, by name."""
    from unicorn.unicorn_py3.unicorn import uclib

    return {name: ctypes.cast(getattr(uclib, name), ctypes.c_void_p).value or 0 for name in FUNCTIONS}


def handle(engine: Any) -> int:
    """The engine as C knows it."""
    return int(engine._uch.value)
