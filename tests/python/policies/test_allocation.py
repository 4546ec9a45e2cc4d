"""ESX's allocation: against revocation page by page as the paper describes it, and against solved cases."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmem.policies.esx_allocation import Claim, allocate

TAXES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.9])
CLAIMS = st.lists(
    st.builds(
        lambda shares, least, extra, active: Claim(shares, least, least + extra, active),
        shares=st.integers(1, 20),
        least=st.integers(0, 40),
        extra=st.integers(1, 200),
        active=st.integers(0, 240),
    ),
    min_size=1,
    max_size=5,
)


def revoke(claims: list[Claim], available: int, tax: float) -> list[int]:
    """Min-funding revocation, one page after the other: ρ = S / (P (f + k (1 - f))), the lowest gives."""
    sizes = [int(claim.most) for claim in claims]
    k = 1 / (1 - tax)

    def rho(i: int) -> float:
        size = sizes[i]
        f = min(1.0, claims[i].active / size)
        return claims[i].shares / (size * (f + k * (1 - f)))

    while sum(sizes) > available:
        able = [i for i in range(len(sizes)) if sizes[i] > claims[i].least and sizes[i] > 0]
        if not able:
            break
        sizes[min(able, key=rho)] -= 1
    return sizes


@settings(max_examples=300, deadline=None)
@given(CLAIMS, st.floats(0.05, 1.2), TAXES)
def test_it_is_where_revocation_ends(claims: list[Claim], part: float, tax: float) -> None:
    available = int(part * sum(claim.most for claim in claims))
    sizes = allocate(claims, available, tax)
    assert sizes == pytest.approx(revoke(claims, available, tax), abs=1.0 + len(claims))
    least, most = (sum(getattr(claim, limit) for claim in claims) for limit in ("least", "most"))
    assert sum(sizes) == pytest.approx(min(max(available, least), most), abs=1e-6)


@pytest.mark.parametrize(
    ("tax", "idle_active", "expected"),
    [(0.0, 0, (179, 179)), (0.75, 0, (102, 256)), (0.75, 51, (102.2, 255.8)), (0.75, 60, (107.6, 250.4))],
)
def test_two_vms_of_256_on_358(tax: float, idle_active: float, expected: tuple[float, float]) -> None:
    """P_idle = (M + (k - 1) A_idle) / (k + 1), and no more than 256 for the busy one."""
    idle = Claim(1000, 0, 256, idle_active)
    busy = Claim(1000, 0, 256, 256)
    assert allocate([idle, busy], 358, tax) == pytest.approx(expected, abs=0.1)


def test_shares_without_a_tax_are_proportions() -> None:
    claims = [Claim(shares, 0, 10**12, 0) for shares in (1000, 2000, 5000)]
    assert allocate(claims, 8 << 30, 0) == pytest.approx([1 << 30, 2 << 30, 5 << 30], abs=1)
