"""The other MMU: `unicorn`, an emulator of whole x86-64 processors. Only real instructions on real tables
tell what it would do, so this is the smallest system that can execute one load, store or fetch in any ring.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
from unicorn import Uc, UcError
from unicorn import unicorn_const as uc
from unicorn import x86_const as x86

from .layout import HARNESS, PAGE, SLOT_ADDRESSES, SLOT_OF_WORD, WINDOWS, Words, fill_data
from .machine_state import (
    CR4_PAE,
    CR4_PKE,
    CR4_SMAP,
    LONG_MODE_CR0,
    LONG_MODE_EFER,
    A,
    Access,
    D,
    Kind,
    Outcome,
    P,
    Registers,
    U,
    W,
)

# Frames of the harness window.
ROOT, PML4, PDPT, PD, PT, KERNEL_CODE, USER_CODE, KERNEL_DATA = (HARNESS + PAGE * n for n in range(1, 9))
SPARE_LEAF_TABLE, SPARE_LEAF = HARNESS + PAGE * 9, HARNESS + PAGE * 10
# In either number of levels: index 256 of the PML4; with five levels index 511 of the PML5 as well.
KERNEL_PAGE, USER_PAGE, DATA_PAGE = (0xFFFF_8000_0000_0000 + PAGE * n for n in range(3))
RESERVED_ROOT_INDEX = {4: 256, 5: 511}

# mov rax,[rdi]; mov [rdi],rax; wrpkru; mov cr4,rax; nop; iretq. Emulation must not end where the emulator
# begins a new block of code, as it does after a MOV CR4 or an IRETQ.
CODE = bytes.fromhex("488b07 488907 0f01ef 0f22e090 48cf")
LOAD, STORE, WRPKRU, MOV_CR4, IRETQ = 0, 3, 6, 9, 13
STACK = DATA_PAGE + 0x800
EFER = 0xC000_0080
PAGE_FAULT, GENERAL_PROTECTION, BREAKPOINT = 14, 13, 3
UNTOUCHED_CR2 = 0xDEAD
# Faults with these error codes calibrate where the emulator keeps the error code: user store and load without
# right, supervisor store without right, not present supervisor load and user store, user fetch without right.
CALIBRATION: tuple[tuple[int, int, Kind, int], ...] = (
    (7, 3, "store", P),
    (5, 3, "load", P),
    (3, 0, "store", P),
    (0, 0, "load", 0),
    (6, 3, "store", 0),
    (0x15, 3, "fetch", P),
)


def segment(dpl: int, code: bool) -> int:
    return (0x00AF_9A00_0000_FFFF if code else 0x00CF_9200_0000_FFFF) | dpl << 45


class UnicornMmu:
    """`windows`: base address → the words of that part of its physical memory."""

    def __init__(self) -> None:
        self.windows: dict[int, Words] = {}
        self._buffers: list[mmap.mmap] = []
        self._uc = Uc(uc.UC_ARCH_X86, uc.UC_MODE_64)
        self._uc.ctl_set_cpu_model(x86.UC_CPU_X86_ICELAKE_SERVER)  # the default has no SMAP
        self._contexts: dict[tuple[int, int, bool], Any] = {}
        self._vector: int | None = None
        self._error_code = 0
        for base, frames in WINDOWS.items():
            self._map(base, frames * PAGE)
        fill_data(self.windows)
        self._write_harness()
        self._enter_long_mode()
        self._uc.hook_add(uc.UC_HOOK_INTR, self._on_exception)
        self._scratch = self._uc.context_save()
        self._boot = self._uc.context_save()
        self._error_code_at = 0
        self._error_code_at = self._find_error_code()

    def _map(self, base: int, size: int) -> None:
        buffer = mmap.mmap(-1, size)
        words = np.frombuffer(buffer, np.uint64)
        self._buffers.append(buffer)
        self.windows[base] = words
        self._uc.mem_map_ptr(base, size, uc.UC_PROT_ALL, words.ctypes.data)

    def _write_harness(self) -> None:
        """Accessed and dirty are set already, so that running the harness changes nothing."""
        words = self.windows[HARNESS]
        table = P | W | U | A | D
        for at, entry in (
            (ROOT + 8 * 256, PDPT | table),
            (PML4 + 8 * 256, PDPT | table),
            (PDPT, PD | table),
            (PD, PT | table),
            (PT, KERNEL_CODE | P | A),
            (PT + 8, USER_CODE | P | U | A),
            (PT + 16, KERNEL_DATA | P | W | A | D),
            (PD + 8, SPARE_LEAF_TABLE | table),
        ):
            words[at // 8] = entry
        for frame in (KERNEL_CODE, USER_CODE):
            words.view(np.uint8)[frame : frame + len(CODE)] = np.frombuffer(CODE, np.uint8)
        for ring in range(4):
            words[KERNEL_DATA // 8 + 1 + 2 * ring] = segment(ring, code=True)
            words[KERNEL_DATA // 8 + 2 + 2 * ring] = segment(ring, code=False)

    def root_entry(self, levels: int) -> int:
        """What every root must hold at RESERVED_ROOT_INDEX."""
        return (PML4 if levels == 5 else PDPT) | P | W | U | A

    def _enter_long_mode(self) -> None:
        self._set_registers(Registers(LONG_MODE_CR0, ROOT, CR4_PAE, LONG_MODE_EFER))
        self._uc.reg_write(x86.UC_X86_REG_GDTR, (0, DATA_PAGE, 8 * 9 - 1, 0))

    def _set_registers(self, registers: Registers) -> None:
        self._uc.msr_write(EFER, registers.efer)
        self._uc.reg_write(x86.UC_X86_REG_CR4, registers.cr4)
        self._uc.reg_write(x86.UC_X86_REG_CR3, registers.cr3)
        self._uc.reg_write(x86.UC_X86_REG_CR0, registers.cr0)
        self._uc.ctl(uc.UC_CTL_TLB_FLUSH, uc.UC_CTL_IO_WRITE)

    def _on_exception(self, _uc: Uc, vector: int, _data: object) -> None:
        self._vector = vector
        if vector != BREAKPOINT:
            # No register holds the error code, and a fetch has forgotten it when emulation has ended.
            self._uc.context_update(self._scratch)
            address = self._scratch.context.value + self._error_code_at
            self._error_code = ctypes.c_int32.from_address(address).value
        self._uc.emu_stop()

    def _context(self, cpl: int, pkru: int, smap: bool) -> Any:
        """The processor in that ring with that PKRU and CR4.SMAP, where only IRETQ, WRPKRU and MOV CR4 get
        it. (Writing CR4 from outside sets all that is asked of it, except that SMAP has no effect then.)
        """
        if (cpl, pkru, smap) not in self._contexts:
            self._uc.context_restore(self._boot)
            cr4 = CR4_PAE | CR4_PKE | (CR4_SMAP if smap else 0)
            self._set_registers(Registers(LONG_MODE_CR0, ROOT, cr4 & ~CR4_SMAP, LONG_MODE_EFER))
            self._vector = None
            self._run(KERNEL_PAGE + MOV_CR4, KERNEL_PAGE + IRETQ, rax=cr4)
            code = USER_PAGE if cpl == 3 else KERNEL_PAGE
            frame = (code, 8 + 16 * cpl | cpl, 2, STACK + 0x700, 16 + 16 * cpl | cpl)
            at = (KERNEL_DATA + STACK - DATA_PAGE) // 8
            self.windows[HARNESS][at : at + len(frame)] = np.array(frame, np.uint64)
            self._run(KERNEL_PAGE + IRETQ, code + STORE, rsp=STACK, rdi=code)  # and one load, of its own code
            self._run(code + WRPKRU, code + MOV_CR4, rax=pkru, rcx=0, rdx=0)
            if self._vector is not None or self._uc.reg_read(x86.UC_X86_REG_CS) & 3 != cpl:
                raise RuntimeError(f"the emulator did not reach ring {cpl}: exception {self._vector}")
            self._contexts[cpl, pkru, smap] = self._uc.context_save()
        return self._contexts[cpl, pkru, smap]

    def _run(self, begin: int, end: int, **registers: int) -> None:
        for name, value in registers.items():
            self._uc.reg_write(getattr(x86, f"UC_X86_REG_{name.upper()}"), value)
        self._uc.emu_start(begin, end)

    def _find_error_code(self) -> int:
        """The place in a saved context that holds the right error code after each of some known faults."""
        va, at = KERNEL_PAGE + (1 << 21), SPARE_LEAF_TABLE // 8
        images = []
        for code, cpl, kind, present in CALIBRATION:
            # Present means: to the supervisor, read-only, never executable by the user.
            self.windows[HARNESS][at] = SPARE_LEAF | present | (A if present else 0)
            registers = Registers(LONG_MODE_CR0 | 1 << 16, ROOT, CR4_PAE, LONG_MODE_EFER | 1 << 11)
            self._execute(registers, Access(va, kind, cpl, False, 0), 0)
            if self._vector != PAGE_FAULT:
                raise RuntimeError(f"the emulator made exception {self._vector} of a page fault")
            images.append((code, ctypes.string_at(self._scratch.context.value, self._scratch.size)))
        self.windows[HARNESS][at] = 0
        places = [
            place
            for place in range(0, len(images[0][1]) - 3, 4)
            if all(int.from_bytes(image[place : place + 4], "little") == code for code, image in images)
        ]
        if len(places) != 1:
            raise RuntimeError(f"the emulator's error code is at one of {places}")
        return places[0]

    def _execute(self, registers: Registers, access: Access, marker: int) -> str | None:
        """Runs one instruction. Returns the emulator's own error, such as memory that is not there."""
        emulator = self._uc
        emulator.context_restore(self._context(access.cpl, access.pkru, bool(registers.cr4 & CR4_SMAP)))
        self._set_registers(registers)
        emulator.reg_write(x86.UC_X86_REG_CR2, UNTOUCHED_CR2)
        emulator.reg_write(x86.UC_X86_REG_EFLAGS, 2 | access.ac << 18)
        emulator.reg_write(x86.UC_X86_REG_RDI, access.va)
        emulator.reg_write(x86.UC_X86_REG_RAX, marker)
        self._vector = None
        begin, end = self._program(access.kind, access.cpl, access.va)
        try:
            emulator.emu_start(begin, end)
        except UcError as error:
            return str(error)
        return None

    @staticmethod
    def _program(kind: Kind, cpl: int, va: int) -> tuple[int, int]:
        if kind == "fetch":
            return va, va + 1 & (1 << 64) - 1  # a larger range is fetched ahead; the slot's int3 ends it
        code = USER_PAGE if cpl == 3 else KERNEL_PAGE
        return (code + LOAD, code + STORE) if kind == "load" else (code + STORE, code + WRPKRU)

    def access(self, registers: Registers, access: Access, marker: int) -> Outcome:
        """One access with an empty TLB. A store writes `marker`, which stays there."""
        error = self._execute(registers, access, marker)
        if error is not None:
            if "UNMAPPED" not in error:
                raise RuntimeError(f"the emulator says {error} to {access}")
            return Outcome("absent")
        cr2 = self._uc.reg_read(x86.UC_X86_REG_CR2)
        if self._vector == PAGE_FAULT:
            return Outcome("page_fault", cr2, self._error_code)
        if cr2 != UNTOUCHED_CR2:
            raise RuntimeError(f"the emulator changed CR2 to {cr2:#x} without a page fault at {access}")
        if self._vector == GENERAL_PROTECTION:
            return Outcome("general_protection", None, self._error_code)
        return Outcome("reached", self._reached(access.kind, marker))

    def _reached(self, kind: Kind, marker: int) -> int | None:
        if kind == "store":
            found = [
                base + 8 * int(index)
                for base, words in self.windows.items()
                for index in np.flatnonzero(words == marker)
            ]
            return found[0] if len(found) == 1 else None
        rax = self._uc.reg_read(x86.UC_X86_REG_RAX)
        if kind == "fetch":
            return SLOT_ADDRESSES[rax] if self._vector == BREAKPOINT and rax < len(SLOT_ADDRESSES) else None
        slot = SLOT_OF_WORD.get(rax)
        return None if slot is None else SLOT_ADDRESSES[slot]
