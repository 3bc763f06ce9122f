"""The steps of a turn at which a server can be made to die, from outside: the product has no hooks.

Named as DESIGN's story goes. Dying is SIGKILL, to itself, at the n-th passing; what is still to
happen in the same step then never does.
"""

import functools
import inspect
import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from tests.faults.torture.patching import Target, TargetGone

Passed = Callable[[], None]
Wrap = Callable[[Any, Passed], Any]

_HISTORY = "turnkeep_server.history.mongodb_history:MongoDBChatMessageHistory"
_DOCUMENTS = "turnkeep_server.history.mongodb_session:SessionDocuments"
_LEASES = "turnkeep_server.history.mongodb_leases:Leases"
_VIEW = "turnkeep_server.history.mongodb_sessions:SessionsView"
_SUMMARIES = "turnkeep_server.history.mongodb_summaries:SummaryDocuments"
_CHAIN = "turnkeep_server.chain:Chain"
_SERVICER = "turnkeep_server.servicer:ConversationServicer"


@dataclass(frozen=True, slots=True)
class Step:
    """Where a step is: each of these methods, wrapped so that it tells when it is passed."""

    places: tuple[str, ...]
    wrap: Wrap

    def check(self) -> None:
        """Raises TargetGone where a method is not there any more, or not of the expected kind."""
        for place in self.places:
            self.wrap(Target(place).value, lambda: None)

    def watch(self, passed: Passed) -> None:
        """From now on `passed` is called at every passing in this process."""
        for place in self.places:
            target = Target(place)
            target.put(self.wrap(target.value, passed))


def _coroutine(method: Any) -> Any:
    if not inspect.iscoroutinefunction(method):
        raise TargetGone(f"{method!r} is no coroutine function")
    return method


def _always(*_: Any) -> bool:
    return True


def _before(when: Callable[..., bool] = _always) -> Wrap:
    """Passed when the method is called, if `when` says so of its arguments."""

    def wrap(method: Any, passed: Passed) -> Any:
        @functools.wraps(_coroutine(method))
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            if when(*args):
                passed()
            return await method(*args, **kwargs)

        return wrapped

    return wrap


def _after(when: Callable[..., bool] = _always, *, of: Callable[..., bool] = _always) -> Wrap:
    """Passed when the method has returned, if `when` says so of its outcome, `of` of arguments."""

    def wrap(method: Any, passed: Passed) -> Any:
        @functools.wraps(_coroutine(method))
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            outcome = await method(*args, **kwargs)
            if when(outcome) and of(*args):
                passed()
            return outcome

        return wrapped

    return wrap


def _piece(wanted: Callable[[int, Any], bool]) -> Wrap:
    """Passed when a stream's piece has come that is `wanted`: by its number from 0, and itself."""

    def wrap(method: Any, passed: Passed) -> Any:
        if not inspect.isasyncgenfunction(method):
            raise TargetGone(f"{method!r} is no asynchronous generator")

        @functools.wraps(method)
        async def wrapped(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            stream = method(*args, **kwargs)
            try:
                for number in itertools.count():
                    try:
                        piece = await anext(stream)
                    except StopAsyncIteration:
                        return
                    if wanted(number, piece):
                        passed()
                    yield piece
            finally:
                await stream.aclose()

        return wrapped

    return wrap


def _asked(method: Any, passed: Passed) -> Any:
    """Passed when the model is about to be asked, for a whole reply or for a stream."""
    if inspect.iscoroutinefunction(method):
        return _before()(method, passed)
    if not inspect.isasyncgenfunction(method):
        raise TargetGone(f"{method!r} asks no model")

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        passed()
        return method(*args, **kwargs)

    return wrapped


def _response_written(method: Any, passed: Passed) -> Any:
    """Passed when gRPC says that the call is over: its answer has been handed to the network."""
    if not inspect.iscoroutinefunction(method) and not inspect.isasyncgenfunction(method):
        raise TargetGone(f"{method!r} serves no RPC")

    @functools.wraps(method)
    def wrapped(self: Any, request: Any, context: Any) -> Any:
        context.add_done_callback(lambda _: passed())
        return method(self, request, context)

    # gRPC looks what kind of function it is given.
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def whole(self: Any, request: Any, context: Any) -> Any:
            return await wrapped(self, request, context)

        return whole

    @functools.wraps(method)
    async def streamed(self: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        stream = wrapped(self, request, context)
        try:
            async for each in stream:
                yield each
        finally:
            await stream.aclose()

    return streamed


def _half_deleted(method: Any, passed: Passed) -> Any:
    """Passed when the older half of what a clear covers is deleted, as mongod does it: in order."""

    @functools.wraps(_coroutine(method))
    async def wrapped(self: Any, sequence: int) -> None:
        turns = self._connection.turns
        covered = {**self._key, "sequence": {"$lt": sequence}}
        found = await turns.find(covered, {"sequence": 1}).sort("sequence").to_list(None)
        half = found[len(found) // 2]["sequence"] if found else sequence
        await turns.delete_many({**self._key, "sequence": {"$lt": half}})
        passed()
        await method(self, sequence)

    return wrapped


def _status(turn: Any) -> str:
    return str(turn.status.value)


def _of_running(_self: Any, turn: Any, *_: Any) -> bool:
    return _status(turn) == "RUNNING"


def _of_completed(_self: Any, turn: Any, *_: Any) -> bool:
    return _status(turn) == "COMPLETED"


def _inserts(status: str) -> Callable[..., bool]:
    """Of an upsert on a fresh _id: whether it is to make a turn of this status."""
    return lambda _self, fresh, *_: fresh["status"] == {"$eq": status}


def _holds_any(leases: Any) -> bool:
    return bool(leases._held)


STEPS: dict[str, Step] = {
    # A turn.
    "before the tail is read": Step((f"{_HISTORY}.tail",), _before()),
    "after the tail was read": Step((f"{_HISTORY}.tail",), _after()),
    "after fit": Step(("turnkeep_server.context:Contexts.read",), _after()),
    "before begin is sent": Step((f"{_HISTORY}._insert",), _before(_of_running)),
    "after begin was acknowledged": Step(
        (f"{_DOCUMENTS}.insert_in_sight",), _after(of=_inserts("RUNNING"))
    ),
    "after begin": Step((f"{_HISTORY}.begin",), _after()),
    "before the model is asked": Step((f"{_CHAIN}.reply", f"{_CHAIN}.stream"), _asked),
    "after the model has answered": Step((f"{_CHAIN}.reply",), _after()),
    "after the first delta": Step((f"{_CHAIN}.stream",), _piece(lambda number, _: number == 0)),
    "between deltas": Step(
        (f"{_CHAIN}.stream",), _piece(lambda number, piece: number > 0 and isinstance(piece, str))
    ),
    "after the last delta": Step(
        (f"{_CHAIN}.stream",), _piece(lambda _, piece: not isinstance(piece, str))
    ),
    "before the commit is sent": Step((f"{_HISTORY}.complete",), _before()),
    "after the commit was acknowledged": Step((f"{_HISTORY}.complete",), _after()),
    "before the response is written": Step((f"{_SERVICER}.Chat",), _after()),
    "after the response was written": Step(
        (f"{_SERVICER}.Chat", f"{_SERVICER}.StreamChat"), _response_written
    ),
    # A turn that ends early.
    "before a failure is written": Step((f"{_HISTORY}.fail",), _before()),
    "after a failure was written": Step((f"{_HISTORY}.fail",), _after()),
    # AddMessages.
    "before append is sent": Step((f"{_HISTORY}._insert",), _before(_of_completed)),
    "after append was acknowledged": Step(
        (f"{_DOCUMENTS}.insert_in_sight",), _after(of=_inserts("COMPLETED"))
    ),
    # ClearSession.
    "before the tombstone": Step((f"{_DOCUMENTS}.entomb",), _before()),
    "after the tombstone, before the delete": Step((f"{_DOCUMENTS}.delete_below",), _before()),
    "half way of the delete": Step((f"{_DOCUMENTS}.delete_below",), _half_deleted),
    "after the delete": Step((f"{_DOCUMENTS}.delete_below",), _after()),
    # Beside the turns.
    "before leases are renewed": Step((f"{_LEASES}.renew",), _before(_holds_any)),
    "before a take-over": Step((f"{_HISTORY}.end_if_dead",), _before()),
    "after a take-over": Step((f"{_HISTORY}.end_if_dead",), _after(bool)),
    "before the sessions view is written": Step((f"{_VIEW}._write",), _before()),
    "after the sessions view was written": Step((f"{_VIEW}._write",), _after()),
    "after a summary was claimed": Step((f"{_SUMMARIES}.claim",), _after(bool)),
    "before a summary is written": Step((f"{_SUMMARIES}.write",), _before()),
    "after a summary was written": Step((f"{_SUMMARIES}.write",), _after(bool)),
}


def arm(step: str, number: int) -> None:
    """Has this process SIGKILL itself at the step's `number`-th passing, counted from 1.

    Raises TargetGone, and KeyError for a step that there is not.
    """
    left = number

    def passed() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.write(2, f"{died_line(step)}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()  # until it strikes

    STEPS[step].watch(passed)


def died_line(step: str) -> str:
    """The last line of the log of a server that died at the step."""
    return f"torture: died {step}"
