"""Named prompts: the system text, and the variables it needs. Pure.

Only the operator's text is a template. What callers and histories say is data: a brace in it is a
brace.
"""

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from turnkeep_server.errors import MissingVariable, SettingsError, UnknownPrompt

DEFAULT = "default"
RESERVED = frozenset({"chat_history", "question"})
"""The chain's own inputs, which no variable may be named."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt by its name. `system` is an f-string template: {topic} is a variable, {{ a brace."""

    name: str
    system: str
    variables: frozenset[str]


def parse_prompt(name: str, system: str) -> Prompt:
    """The prompt with its variables found. Raises SettingsError for a malformed template."""
    try:
        parsed = list(string.Formatter().parse(system))
    except ValueError as error:
        raise SettingsError(
            f"prompt {name!r}: {error}; write {{{{ and }}}} for braces that are no variable"
        ) from error
    found: set[str] = set()
    for _, field, form, conversion in parsed:
        if field is None:
            continue
        if not field.isidentifier() or field in RESERVED or form or conversion:
            raise SettingsError(
                f"prompt {name!r}: {{{field}}} cannot be a variable; use a plain name other than "
                f"{' and '.join(sorted(RESERVED))}, without a format; for braces that are no "
                "variable write {{ and }}"
            )
        found.add(field)
    return Prompt(name, system, frozenset(found))


class Prompts:
    """The prompts that requests may name."""

    def __init__(self, prompts: Mapping[str, Prompt]) -> None:
        self._prompts = dict(prompts)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self._prompts.values())

    def pick(self, name: str, variables: Mapping[str, str]) -> tuple[Prompt, dict[str, str]]:
        """The prompt (the default one for an empty name) and the values of its variables.

        Raises UnknownPrompt or MissingVariable, which name the choices.
        """
        prompt = self._prompts.get(name or DEFAULT)
        if prompt is None:
            known = ", ".join(sorted(self._prompts))
            raise UnknownPrompt("no prompt of this name is configured", known_prompts=known)
        missing = sorted(prompt.variables - variables.keys())
        if missing:
            raise MissingVariable(
                f"the prompt {prompt.name!r} needs values for: {', '.join(missing)}",
                missing_variables=", ".join(missing),
            )
        return prompt, {each: variables[each] for each in prompt.variables}
