"""Rights of pages and who may do what (mmu.md, "The walk, one dimension": rights)."""

from __future__ import annotations

from typing import NamedTuple

from reference.state import CR0_WP, CR4_PKE, CR4_SMAP, CR4_SMEP, EFER_NXE, State

ERROR_P, ERROR_W, ERROR_U, ERROR_RSVD, ERROR_I, ERROR_PK = 1, 2, 4, 8, 16, 32


class Rights(NamedTuple):
    """What the entries of a guest walk allow together."""

    write: bool = True
    user: bool = True
    execute: bool = True

    def under(self, entry: int) -> Rights:
        """W and U are the AND of R/W and U/S, X is no NX seen."""
        return Rights(
            self.write and bool(entry & 2),
            self.user and bool(entry & 4),
            self.execute and not entry >> 63,
        )


class HostRights(NamedTuple):
    """What the entries of a second-stage walk allow together."""

    read: bool = True
    write: bool = True
    execute: bool = True

    def permit(self, kind: str) -> bool:
        return {"load": self.read, "store": self.write, "fetch": self.execute}[kind]

    def bits(self) -> int:
        return self.read | self.write << 1 | self.execute << 2


def is_user(state: State) -> bool:
    """Supervisor is CPL 0 to 2."""
    return state.cpl == 3


def key_allows(rights: Rights, key: int, kind: str, state: State) -> bool:
    """Protection keys: U pages and data accesses only."""
    if not state.cr4 & CR4_PKE or not rights.user or kind == "fetch":
        return True
    access_disabled = state.pkru >> 2 * key & 1
    write_disabled = state.pkru >> 2 * key + 1 & 1
    if access_disabled:
        return False
    return not (kind == "store" and write_disabled and (is_user(state) or state.cr0 & CR0_WP))


def rights_allow(rights: Rights, kind: str, state: State) -> bool:
    """Everything but the protection key."""
    if is_user(state) and not rights.user:
        return False
    if kind == "store" and not rights.write and (is_user(state) or state.cr0 & CR0_WP):
        return False
    if kind == "fetch" and not rights.execute and state.efer & EFER_NXE:
        return False
    if not is_user(state) and rights.user:
        if kind == "fetch":
            return not state.cr4 & CR4_SMEP
        return not state.cr4 & CR4_SMAP or state.ac
    return True


def base_error(kind: str, state: State) -> int:
    """W/R, U/S, and I/D only when NXE or SMEP."""
    error = ERROR_W if kind == "store" else 0
    if is_user(state):
        error |= ERROR_U
    if kind == "fetch" and (state.efer & EFER_NXE or state.cr4 & CR4_SMEP):
        error |= ERROR_I
    return error
