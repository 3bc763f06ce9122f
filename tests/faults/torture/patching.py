"""Changes to the service from outside, in its own process: the product has no hooks for this.

A change whose target is not there any more, or reads otherwise than it did, raises `TargetGone`: a
change that changed nothing would make every test of it a lie.
"""

import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class TargetGone(Exception):
    """The service has changed, and what is changed here must be named anew. Not expected."""


@dataclass(frozen=True, slots=True)
class Target:
    """`turnkeep_server.module:Class.method`, `:function` or `:CONSTANT`."""

    place: str

    def owner_and_name(self) -> tuple[Any, str]:
        """The module or class that holds it, and what it is called there. Raises TargetGone."""
        module, _, path = self.place.partition(":")
        *owners, name = path.split(".")
        try:
            owner: Any = importlib.import_module(module)
            for each in owners:
                owner = getattr(owner, each)
            # In the class itself: an inherited one would be changed for others too.
            vars(owner)[name]
        except (ImportError, AttributeError, KeyError) as error:
            raise TargetGone(f"there is no {self.place}") from error
        return owner, name

    @property
    def value(self) -> Any:
        """What is there now. Raises TargetGone."""
        owner, name = self.owner_and_name()
        return vars(owner)[name]

    def put(self, value: Any) -> None:
        """Puts something else in its place."""
        owner, name = self.owner_and_name()
        setattr(owner, name, value)


@dataclass(frozen=True, slots=True)
class Replace:
    """Puts what `make` makes of the target in its place; `make` raises TargetGone or returns."""

    place: str
    make: Callable[[Any], Any]

    def apply(self) -> None:
        """Changes this process. Raises TargetGone."""
        self.checked()

    def checked(self, *, dry: bool = False) -> None:
        """Makes the change; `dry`, only looks whether it could be made."""
        target = Target(self.place)
        made = self.make(target.value)
        if not dry:
            target.put(made)


@dataclass(frozen=True, slots=True)
class Edit:
    """Another text in a function: `old` must be there exactly once."""

    place: str
    old: str
    new: str

    def apply(self) -> None:
        """Changes this process. Raises TargetGone."""
        self.checked()

    def checked(self, *, dry: bool = False) -> None:
        """Makes the change; `dry`, only looks whether it could be made."""
        target = Target(self.place)
        function = inspect.unwrap(target.value)
        text = textwrap.dedent(inspect.getsource(function))
        if text.count(self.old) != 1:
            raise TargetGone(f"{self.place} holds {text.count(self.old)} times {self.old!r}")
        module = sys.modules[function.__module__]
        # The decorators are part of the text; the module's names are the function's globals.
        code = compile(text.replace(self.old, self.new), f"<mutant of {self.place}>", "exec")
        if not dry:
            made: dict[str, Any] = {}
            exec(code, module.__dict__, made)  # noqa: S102  # that is what a mutant is
            target.put(made[function.__name__])


Change = Replace | Edit
