"""YAML of the plain kind: its values, and the line of each, for errors that say where.

Every scalar is text as it is written, but for null, ~ and nothing at all: what is a number or a
truth is for the reader to say, so that `no` stays a word. Tags and aliases are refused: nothing
here is worth an object that builds itself or a text that is larger than its file.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml
from yaml.reader import ReaderError

_KIND = "tag:yaml.org,2002:"
_NULL = f"{_KIND}null"
_PLAIN = {_NULL, f"{_KIND}str", f"{_KIND}seq", f"{_KIND}map"}
_MAX_SHOWN_CHARS = 64

Place = tuple[str | int, ...]
"""The keys and indexes that lead to a value. A text in a | block has its lines as places too."""


class Problem(NamedTuple):
    """What is wrong in a line, counted from 1, and what to do. Quotes no text, keys alone."""

    line: int
    what: str


class BadFile(Exception):
    """A file cannot be read as what it should be. Its author must mend every problem named."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


class Document:
    """What a YAML file says: `value` of None, str, list and dict, and the problems so far."""

    def __init__(self, root: yaml.Node | None) -> None:
        self.problems: list[Problem] = []
        self._lines: dict[Place, int] = {(): 1}
        self.value: Any = None if root is None else self._read(root, ())

    def line(self, place: Place) -> int:
        """The line of a value: of its key, where it has one. Of what should hold it, if absent."""
        while place not in self._lines:
            place = place[:-1]
        return self._lines[place]

    def _read(self, node: yaml.Node, place: Place) -> Any:
        self._lines.setdefault(place, _line(node))
        self._check(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self._read(each, (*place, index)) for index, each in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.style == "|":
            for index in range(node.value.count("\n") + 1):
                self._lines[*place, index] = _line(node) + 1 + index
        return None if node.tag == _NULL else node.value

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            self._check(key)
            if not isinstance(key, yaml.ScalarNode) or key.tag == _NULL:
                self._problem(key, "has a key that is no text; put it into quotes")
            elif key.value in found:
                first = self._lines[*place, key.value]
                self._problem(key, f"has {shown(key.value)} again, after line {first}; keep one")
            else:
                self._lines[*place, key.value] = _line(key)
                found[key.value] = self._read(value, (*place, key.value))
        return found

    def _check(self, node: yaml.Node) -> None:
        if node.tag not in _PLAIN:
            self._problem(node, "has a YAML tag (!…), and none is taken; delete it")
        if isinstance(node, yaml.ScalarNode) and not _is_text(node.value):
            self._problem(node, r"has an escape (\u…) of half a character; write the character")

    def _problem(self, node: yaml.Node, what: str) -> None:
        self.problems.append(Problem(_line(node), what))


def read_yaml(data: bytes) -> Document:
    """The one document of a YAML file. Raises BadFile if it is not even YAML."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadFile([Problem(line, "is not UTF-8; save the file as UTF-8")]) from None
    try:
        return Document(yaml.compose(text, _Loader))
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise BadFile([Problem(line, "has a control character; delete it")]) from None
    except yaml.MarkedYAMLError as error:
        raise BadFile([_syntax_problem(error)]) from None
    except RecursionError:
        raise BadFile([Problem(1, "is nested too deeply; look for stray brackets")]) from None


def shown(key: str) -> str:
    """A key as errors show it: in quotes, on one line, and not all of one that is a whole text."""
    return repr(key if len(key) <= _MAX_SHOWN_CHARS else f"{key[:_MAX_SHOWN_CHARS]}…")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe one, which takes no alias, and no word for more than a word but null."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            what = "has an alias (*), and none is taken; write out what it stands for"
            raise BadFile([Problem(line, what)])
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] == _NULL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    """PyYAML's words, which quote a character or a name at most, and where it all began."""
    at, began = error.problem_mark or error.context_mark, error.context_mark
    what = error.problem or "cannot be read"
    if error.context and began:
        what = f"{error.context} that begins in line {began.line + 1}: {what}"
    return Problem(at.line + 1 if at else 1, f"is no YAML: {what}; correct the line or quote it")


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
