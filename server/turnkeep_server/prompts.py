"""Named prompts: the system text, its variables, and how the model is to answer. Pure.

Only the operator's text is a template. What callers and histories say is data: a brace in it is a
brace.
"""

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from turnkeep_server.commands import ModelOptions
from turnkeep_server.errors import MissingVariable, SettingsError, UnknownPrompt

DEFAULT = "default"
RESERVED = frozenset({"chat_history", "question"})
"""The chain's own inputs, which no variable may be named."""
# LangChain hands a template its values by keyword, to a method.
_NO_VARIABLES = RESERVED | {"self"}


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Prompt:
    """A prompt by its name. `system` is an f-string template: {topic} is a variable, {{ a brace.

    `variables`: the default of each variable, None for one that requests have to give.
    `options`: how the model is to answer, where a request does not say.
    """

    name: str
    system: str
    variables: Mapping[str, str | None] = field(default_factory=dict, hash=False)
    options: ModelOptions = field(default_factory=ModelOptions)

    def system_text(self, values: Mapping[str, str]) -> str:
        """The system text as the model gets it, each variable replaced by its value."""
        return self.system.format_map(values)


def parse_prompt(
    name: str,
    system: str,
    defaults: Mapping[str, str | None] | None = None,
    options: ModelOptions | None = None,
) -> Prompt:
    """The prompt with its variables found. Raises SettingsError for a malformed template."""
    for _, problem in template_problems(system):
        raise SettingsError(f"prompt {name!r}: {problem}")
    variables = {each: (defaults or {}).get(each) for each in sorted(variables_of(system))}
    return Prompt(name, system, variables, options or ModelOptions())


def variables_of(system: str) -> frozenset[str]:
    """The variables of a well-formed template."""
    return frozenset(found for _, found, _, _ in string.Formatter().parse(system) if found)


def template_problems(system: str) -> Iterator[tuple[int, str]]:
    """What keeps a text from being a template: the index of each bad line, and what to do.

    Of the text it quotes no more than variables' names: it may be anything that an operator has
    pasted. Line by line is as good as in one piece, because a variable's name holds no newline.
    """
    for index, line in enumerate(system.split("\n")):
        try:
            fields = list(string.Formatter().parse(line))
        except ValueError:
            yield index, f"has a brace without its other half; {_REMEDY}"
            continue
        for _, name, form, conversion in fields:
            if name is not None and (problem := _field_problem(name, form, conversion)):
                yield index, problem


_REMEDY = "write {name} for a variable, and {{ and }} for braces that are none"


def _field_problem(name: str, form: str | None, conversion: str | None) -> str:
    """What is wrong with one {…} of a template; nothing if it is a variable."""
    if not name.isidentifier():
        return f"has braces around what is no variable's name; {_REMEDY}"
    if form or conversion:
        return f"has a format or conversion for the variable {name}; write its name alone"
    problem = name_problem(name)
    return f"has a variable {name}, which {problem}" if problem else ""


def name_problem(name: str) -> str:
    """Why a variable cannot be named so; nothing if it can."""
    if not name.isidentifier():
        return "needs another name: letters, digits and _, no digit first"
    if name in _NO_VARIABLES:
        return "needs another name: this one is the chain's own"
    return ""


class Prompts:
    """The prompts that requests may name."""

    def __init__(self, prompts: Mapping[str, Prompt]) -> None:
        self._prompts = dict(prompts)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self._prompts.values())

    def pick(self, name: str, variables: Mapping[str, str]) -> tuple[Prompt, dict[str, str]]:
        """The prompt (the default one for an empty name) and the values of all its variables.

        A value of `variables` goes before the prompt's default. Raises UnknownPrompt or
        MissingVariable, which name the choices.
        """
        prompt = self._prompts.get(name or DEFAULT)
        if prompt is None:
            known = ", ".join(sorted(self._prompts))
            raise UnknownPrompt("no prompt of this name is configured", known_prompts=known)
        given = {each: variables.get(each, default) for each, default in prompt.variables.items()}
        values = {each: value for each, value in given.items() if value is not None}
        if missing := sorted(given.keys() - values.keys()):
            raise MissingVariable(
                f"the prompt {prompt.name!r} needs values for: {', '.join(missing)}",
                missing_variables=", ".join(missing),
            )
        return prompt, values
