"""What of the host takes part in a swap: it comes to rest, hands its state over, and says whether it is well.

Functions need none of this: they are exchanged at once, and their state stays where it is. An object whose state
has a form that the code knows (a cache of its own, a pool, a running machine) may ask to be told, by having methods
of these names, plain or async; any of them may be missing:

- ``quiesce()``: come to rest; no call of the code that changes is begun afterwards until ``resume``. Whoever waits for
  that waits outside of it: a call that waits inside goes on in the old code, on the new state. Where state is handed
  over this is looked at, and ends the swap.
- ``export_state()``: return the state in a form that the next code will understand; called on the old code.
- ``import_state(state)``: take it in; called on the new code, and on the old one again where the swap is taken back.
- ``health()``: say whether all is well, on the new code (see `is_well`); on the old one where the swap is taken back.
- ``resume()``: go on. Called on every way out for whatever was asked to come to rest.

Each call has its time. One that takes longer is given up, and counts as failed.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from types import CodeType
from typing import Any, Optional

from homeostat_agent.haste import Haste
from homeostat_agent.reload.census import is_quiet
from homeostat_agent.reload.patience import Patience

QUIESCE_TIMEOUT = "quiesce_timeout"
QUIESCE_FAILED = "quiesce_failed"
STATE_EXPORT_FAILED = "state_export_failed"
STATE_IMPORT_FAILED = "state_import_failed"
POST_SWAP_FAILED = "post_swap_failed"

DEFAULT_TIMEOUT_S = 2.0
LONGEST_TIMEOUT_S = 30.0
_HANDS_OVER = ("export_state", "import_state")
_HOOKS = ("quiesce", *_HANDS_OVER, "health", "resume")


class Target:
    """One object that takes part. It is held weakly: registered, it lives no longer for that."""

    def __init__(self, target: object, name: str, timeout_s: float, loop: Any) -> None:
        self.name = name
        self._reference = weakref.ref(target)
        self._timeout_s = timeout_s
        self._loop = loop

    @property
    def host(self) -> Any:
        return self._reference()

    @property
    def hands_over(self) -> bool:
        """Whether it has state in a form that the code knows."""
        return all(self.has(name) for name in _HANDS_OVER)

    def has(self, hook: str) -> bool:
        return callable(getattr(self.host, hook, None))

    def files(self) -> set[str]:
        """Return the real paths of the modules that define its class and the bases of it."""
        found = set()
        for kind in type(self.host).__mro__:
            path = getattr(sys.modules.get(kind.__module__), "__file__", None)
            if isinstance(path, str):
                found.add(os.path.realpath(path))
        return found

    def call(self, hook: str, *arguments: Any) -> Any:
        """Call one of its methods and return what it said; `TimeoutError` when that takes too long.

        A ``quiesce`` that was given up and comes to its end later is followed by a ``resume``: the one that was
        called meanwhile came too early.
        """
        method = getattr(self.host, hook)
        call = _Call()
        if inspect.iscoroutinefunction(method) and self._loop is not None and self._loop.is_running():
            import asyncio

            asyncio.run_coroutine_threadsafe(self._follow(method(*arguments), hook, call), self._loop)
        else:
            thread = threading.Thread(target=self._run, args=(method, arguments, hook, call), daemon=True)
            thread.name = f"homeostat-{hook}"
            thread.start()
        return call.wait(self._timeout_s)

    def _run(self, method: Any, arguments: tuple[Any, ...], hook: str, call: _Call) -> None:
        try:
            said = method(*arguments)
            if inspect.iscoroutine(said):
                import asyncio

                said = asyncio.run(said)
        except BaseException as error:  # told by the caller
            given_up = call.end(None, error)
        else:
            given_up = call.end(said, None)
        if given_up and hook == "quiesce" and self.has("resume"):
            self._run(self.host.resume, (), "resume", _Call())

    async def _follow(self, said: Any, hook: str, call: _Call) -> None:
        try:
            answer, failure = await said, None
        except BaseException as error:  # told by the caller; also that the host's loop ends
            answer, failure = None, error
        if call.end(answer, failure) and hook == "quiesce" and self.has("resume"):
            resumed = self.host.resume()
            if inspect.isawaitable(resumed):
                await resumed


class _Call:
    """One call that somebody waits for, until it ends or is given up: whichever is first."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._given_up = False
        self._said: Any = None
        self._failure: Optional[BaseException] = None

    def end(self, said: Any, failure: Optional[BaseException]) -> bool:
        """Take the answer; return whether nobody waits for it any more."""
        with self._lock:
            self._said, self._failure = said, failure
            self._ended.set()
            return self._given_up

    def wait(self, timeout_s: float) -> Any:
        self._ended.wait(timeout_s)
        with self._lock:
            if not self._ended.is_set():
                self._given_up = True
                raise TimeoutError(f"no answer within {timeout_s:g} s")
        if self._failure is not None:
            raise self._failure
        return self._said


class Targets:
    """The objects of one process that take part, in the order in which they asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: list[Target] = []

    def add(self, target: object, name: str = "", timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Let an object take part; False for one that has none of the methods, or cannot be held weakly."""
        if not any(callable(getattr(target, hook, None)) for hook in _HOOKS):
            return False
        try:
            made = Target(
                target, name or type(target).__qualname__, min(max(timeout_s, 0.0), LONGEST_TIMEOUT_S), _running_loop()
            )
        except TypeError:
            return False
        with self._lock:
            self._known = [item for item in self._known if item.host is not None and item.host is not target]
            self._known.append(made)
        return True

    def of(self, paths: Sequence[str]) -> list[Target]:
        """Return those whose code stands in one of these files (real paths)."""
        with self._lock:
            known = list(self._known)
        return [item for item in known if item.host is not None and not item.files().isdisjoint(paths)]


class HandOver:
    """The part of the host in one swap. As a context manager it lets the host go on, whatever happened.

    Each step returns why it failed, beginning with one of the codes above, or an empty text.
    """

    def __init__(self, targets: Sequence[Target], haste: Haste) -> None:
        self._targets = targets
        self._haste = haste
        self._resting: list[Target] = []
        self._states: list[tuple[Target, Any]] = []
        self._took_in: list[Target] = []
        self.notes: list[str] = []

    def __enter__(self) -> HandOver:
        return self

    def __exit__(self, *_: object) -> None:
        for target in reversed(self._resting):
            _, failed = self._call(target, "resume", "")
            if failed:
                self.notes.append(f"{target.name} could not resume: {failed}")

    def quiesce(self, codes: Sequence[CodeType] = (), patience: Optional[Patience] = None) -> str:
        """Bring all to rest, then take their states, once no call is in these codes of theirs any more."""
        for target in self._targets:
            if target.has("resume"):
                self._resting.append(target)  # before: one that failed half way must resume, too
            if target.has("quiesce"):
                _, failed = self._call(target, "quiesce", QUIESCE_FAILED)
                if failed:
                    return failed
        handing_over = [target for target in self._targets if target.hands_over]
        if handing_over and patience is not None:
            files = set().union(*(target.files() for target in handing_over))
            inside = [code for code in codes if os.path.realpath(code.co_filename) in files]
            if not patience.wait_until(lambda: is_quiet(inside)):
                names = ", ".join(dict.fromkeys(target.name for target in handing_over))
                return f"{QUIESCE_TIMEOUT}: {names}: {_still_in(inside)}"
        return self.export()

    def export(self) -> str:
        """Take the states of those that hand them over."""
        for target in self._targets:
            if target.hands_over:
                state, failed = self._call(target, "export_state", STATE_EXPORT_FAILED)
                if failed:
                    return failed
                self._states.append((target, state))
        return ""

    def take_in(self) -> str:
        """Give the states to the code that runs now."""
        for target, state in self._states:
            if target.hands_over:
                _, failed = self._call(target, "import_state", STATE_IMPORT_FAILED, state)
                if failed:
                    return failed
                self._took_in.append(target)
        return ""

    def give_back(self) -> None:
        """Give the states back to the old code, each by itself; what fails is noted."""
        for target, state in self._states:
            _, failed = self._call(target, "import_state", STATE_IMPORT_FAILED, state)
            if failed:
                self.notes.append(failed)

    def check(self) -> str:
        """Ask all whether they are well."""
        for target in self._targets:
            if target.has("health"):
                said, failed = self._call(target, "health", POST_SWAP_FAILED)
                if failed or not is_well(said):
                    return failed or f"{POST_SWAP_FAILED}: {target.name} is not well: {_words(said)}"
        return ""

    def check_state(self) -> str:
        """Say what is not well with those that hand state over: it says so, or has no `health` and got no state."""
        for target in self._targets:
            if target.hands_over and not target.has("health") and target not in self._took_in:
                return f"{POST_SWAP_FAILED}: {target.name} has no state of this code's form"
        return self.check() if any(target.hands_over for target in self._targets) else ""

    def _call(self, target: Target, hook: str, code: str, *arguments: Any) -> tuple[Any, str]:
        try:
            with self._haste.relaxed():
                return target.call(hook, *arguments), ""
        except TimeoutError as error:
            words, code = str(error), QUIESCE_TIMEOUT if code == QUIESCE_FAILED else code
        except BaseException as error:
            words = f"{type(error).__name__} was raised"
        return None, f"{code}: {target.name}.{hook}: {words}" if code else words


def is_well(said: object) -> bool:
    """Read what a target says of its health. Whatever is not plainly well is not: no evidence is never health.

    True is; so is a mapping whose ``healthy`` or ``ok`` is True, or whose ``status`` is ``healthy`` or ``ok``, and in
    which none of these says otherwise.
    """
    if not isinstance(said, Mapping):
        return said is True
    told = [said[key] is True for key in ("healthy", "ok") if key in said]
    if "status" in said:
        told.append(str(said["status"]).lower() in ("healthy", "ok"))
    return bool(told) and all(told)


def _words(said: object) -> str:
    """Describe an answer by its kind and plain values only: what else it holds is the host's."""
    if isinstance(said, Mapping):
        shown = {key: said[key] for key in ("healthy", "ok") if isinstance(said.get(key), bool)}
        return f"it said {shown}" if shown else "its answer says nothing of health"
    return f"it said {said!r}" if said is None or isinstance(said, bool) else f"it said a {type(said).__name__}"


def _still_in(codes: Sequence[CodeType]) -> str:
    """Say which of these codes calls are in: `quiesce` let them wait there, or did not wait for them."""
    names = sorted({code.co_name for code in codes if not is_quiet([code])})
    where = f"a call in `{names[0]}`" if len(names) == 1 else f"calls in {', '.join(f'`{name}`' for name in names[:5])}"
    return f"{where if names else 'calls'} did not end, and would go on in the old code on the new state"


def _running_loop() -> Optional[Any]:
    """Return the event loop of the caller, without importing what the host has not imported."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


EVERYBODY = Targets()
"""Those of this process: a program registers before, or without, an agent being attached."""
