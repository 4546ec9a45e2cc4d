"""Spreads runs over an executor: each is tried again when its worker fails, and kept when it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait

from vmem.sweep.grid import Base, Settings
from vmem.sweep.journal import Journal
from vmem.sweep.order import Order
from vmem.sweep.point import Outcome, run_point

RETRIES = 2

Run = Callable[[Base, Settings], Outcome]
MakeExecutor = Callable[[], Executor]


class Spread:
    """Makes runs. An executor that breaks is replaced by another one of the same kind."""

    def __init__(
        self,
        base: Base,
        make_executor: MakeExecutor,
        journal: Journal | None = None,
        *,
        retries: int = RETRIES,
        run: Run = run_point,
        width: int | None = None,
    ) -> None:
        """`width`: how many runs are made at once; the others wait here, where the longest goes first.

        None: the executor gets all of them, in their order.
        """
        self._base, self._make, self._journal = base, make_executor, journal
        self._retries, self._run = retries, run
        # One more for every four, so that none who is done waits for this process to notice.
        self._most = None if width is None else width + max(1, width // 4)
        self._executor = make_executor()
        self._pending: dict[Future[Outcome], int] = {}

    def close(self) -> None:
        """Lets go of the workers; runs that have not begun are not made."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def outcomes(
        self, grid: Sequence[Settings], progress: Callable[[int, int], object] | None = None
    ) -> list[Outcome]:
        """Of each of the settings, in their order. `progress(done, total)` counts runs."""
        found: list[Outcome | None] = [
            self._journal.find(settings) if self._journal else None for settings in grid
        ]
        tries = dict.fromkeys((i for i, outcome in enumerate(found) if outcome is None), 0)
        order = Order(list(grid))
        for outcome in found:
            if outcome is not None:
                order.learn(outcome.settings, outcome.seconds)
        order.add(tries)
        self._submit(order, grid)
        while True:
            if progress is not None:
                progress(sum(outcome is not None for outcome in found), len(grid))
            if not self._pending:
                break
            done, _ = wait(self._pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                i = self._pending.pop(future)
                outcome = found[i] = self._take(future, grid[i], tries, i)
                if outcome is None:
                    order.add([i])
                elif outcome.error is None:
                    order.learn(outcome.settings, outcome.seconds)
            self._submit(order, grid)
        return [outcome for outcome in found if outcome is not None]

    def _take(
        self, future: Future[Outcome], settings: Settings, tries: dict[int, int], i: int
    ) -> Outcome | None:
        """What came of it; None: it is to be tried again."""
        error = future.exception()
        if error is None:
            outcome = future.result()
        else:
            tries[i] += 1
            if tries[i] <= self._retries:
                return None
            told = " ".join(str(error).split())[:200]
            outcome = Outcome(settings, {}, f"failed {tries[i]} times: {type(error).__name__}: {told}", 0.0)
        # A failed worker says nothing about the run itself: the next sweep tries it anew.
        if self._journal is not None and error is None:
            self._journal.add(outcome)
        return outcome

    def _submit(self, order: Order, grid: Sequence[Settings]) -> None:
        while order and (self._most is None or len(self._pending) < self._most):
            i = order.first() if self._most is None else order.longest()
            try:
                future = self._executor.submit(self._run, self._base, grid[i])
            except BrokenExecutor:
                self._executor.shutdown(wait=False)
                self._executor = self._make()
                future = self._executor.submit(self._run, self._base, grid[i])
            self._pending[future] = i
