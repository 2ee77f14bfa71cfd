"""Users of a store that can be stopped, and killed, before or after any of its calls.

- `HookedStore`, `dying_at`: a store whose calls a test sees, and one whose user dies at the n-th.
- `Outage`: a store that loses an answer, and then all of them for a while.
- `SteppedUser`: a user in a thread that makes one call at a time, when it is told to.
- `InterleavedUsers`: several of them, in whatever order Hypothesis thinks of.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from nba_ml.contract.errors import PublicationError
from nba_ml.storage.objects import ObjectStore, StoredObject

Result = TypeVar("Result")
Order = Literal["go", "die before", "die after", "lose the answer"]


class Killed(BaseException):
    """The end of a user's process. No `except Exception` of the code under test may catch it."""


class HookedStore:
    """A store that passes every call through a hook, given the method's name and the call itself."""

    def __init__(self, store: ObjectStore, hook: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._store = store
        self._hook = hook

    def uri(self, name: str) -> str:
        return self._store.uri(name)

    def read(self, name: str) -> StoredObject | None:
        found: StoredObject | None = self._hook("read", lambda: self._store.read(name))
        return found

    def create(self, name: str, data: bytes) -> str:
        return str(self._hook("create", lambda: self._store.create(name, data)))

    def swap(self, name: str, data: bytes, generation: str) -> str:
        return str(self._hook("swap", lambda: self._store.swap(name, data, generation)))

    def write(self, name: str, data: bytes) -> None:
        self._hook("write", lambda: self._store.write(name, data))

    def delete(self, name: str) -> None:
        self._hook("delete", lambda: self._store.delete(name))

    def names(self, prefix: str) -> list[str]:
        return list(self._hook("names", lambda: self._store.names(prefix)))


def dying_at(store: ObjectStore, call: int, order: Order) -> HookedStore:
    """A store whose user dies at the n-th call, counted from 0: before it takes effect, or right after."""
    calls = 0

    def hook(_: str, perform: Callable[[], Result]) -> Result:
        nonlocal calls
        calls += 1
        if calls - 1 == call and order == "die before":
            raise Killed
        result = perform()
        if calls - 1 == call and order == "die after":
            raise Killed
        return result

    return HookedStore(store, hook)


class Outage:
    """A store that loses the answer to its n-th write, counted from 0, and then answers nothing until it is `over`.

    Args:
        landed: whether that write took effect.
    """

    def __init__(self, store: ObjectStore, write: int, *, landed: bool = True) -> None:
        self.store = HookedStore(store, self._hook)
        self._left, self._landed, self._out = write, landed, False

    def over(self) -> None:
        """Answer again, and lose nothing more."""
        self._left, self._out = -1, False

    def _hook(self, what: str, perform: Callable[[], Result]) -> Result:
        if not self._out and what in ("create", "swap"):
            self._left -= 1
            self._out = self._left == -1
            if self._out and self._landed:
                perform()
        if self._out:
            raise PublicationError("The store could not be reached.")
        return perform()


class SteppedUser:
    """Does its `work` in a thread that waits for an order before each of its store calls.

    A subclass has all that its work needs before it calls this constructor, which starts the thread.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.ended = False
        self._order: Order = "go"
        self._may_go, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(HookedStore(store, self._obey),), daemon=True)
        self._thread.start()
        self._waits.acquire()

    def work(self, store: ObjectStore) -> None:
        """What it does with the store; ends where it is killed."""
        raise NotImplementedError

    def step(self, order: Order = "go") -> None:
        """Let it make one store call, die before or after that, or hear nothing of what came of it.

        One that has ended takes no more orders.
        """
        if not self.ended:
            self._order = order
            self._may_go.release()
            self._waits.acquire()

    def _obey(self, _: str, perform: Callable[[], Result]) -> Result:
        self._waits.release()
        self._may_go.acquire()
        if self._order == "die before":
            raise Killed
        result = perform()
        if self._order == "die after":
            raise Killed
        if self._order == "lose the answer":
            raise PublicationError("The store could not be reached.")
        return result

    def _run(self, store: ObjectStore) -> None:
        try:
            self.work(store)
        except Killed:
            pass  # its process is gone; what it wrote stays
        finally:
            self.ended = True
            self._waits.release()


class InterleavedUsers(RuleBasedStateMachine):
    """Up to four users of one store, one store call at a time, some of them killed.

    A subclass starts them (`running`), and says in `all_is_well`, an invariant of its own, what must hold after every
    single call. It opens its store in a rule that initialises.
    """

    def __init__(self) -> None:
        super().__init__()
        self.running: list[Any] = []
        self.ended: list[Any] = []

    def all_is_well(self) -> None:
        """An AssertionError for what may never be seen."""
        raise NotImplementedError

    @precondition(lambda self: self.running)
    @rule(who=st.integers(0, 3), calls=st.sampled_from([1, 2, 8]))
    def go_on(self, who: int, calls: int) -> None:
        user = self.running[who % len(self.running)]
        for _ in range(calls):
            user.step()
            self.all_is_well()
        self.retire(user)

    @precondition(lambda self: self.running)
    @rule(who=st.integers(0, 3), order=st.sampled_from(["die before", "die after"]))
    def kill(self, who: int, order: Order) -> None:
        user = self.running[who % len(self.running)]
        user.step(order)
        self.retire(user)

    def retire(self, user: Any) -> None:
        if user.ended:
            self.running.remove(user)
            self.ended.append(user)
