"""The file of named prompts: YAML in, prompts out, or all that is wrong with it, line by line."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from turnkeep_server.commands import MAX_STOP_CHARS, MAX_STOPS, MAX_TEMPERATURE, ModelOptions
from turnkeep_server.errors import SettingsError
from turnkeep_server.prompts import (
    DEFAULT,
    Prompt,
    Prompts,
    name_problem,
    parse_prompt,
    template_problems,
    variables_of,
)
from turnkeep_server.yaml_document import BadFile, Document, Place, Problem, read_yaml, shown

SHIPPED = Path(__file__).with_name("prompts.yaml")
_MAX_BYTES = 2**20
_MAX_PROBLEMS_TOLD = 50
_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1
# What the contract takes as a request's `prompt`.
_NAME = re.compile(r"[\x21-\x7e]{1,128}")


class _Options(BaseModel):
    """`ModelOptions` in the file, under the limits that requests have."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    temperature: float | None = Field(None, ge=0, le=MAX_TEMPERATURE, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    max_output_tokens: int | None = Field(None, ge=1, le=_MAX_INT64)
    seed: int | None = Field(None, ge=_MIN_INT64, le=_MAX_INT64)
    stop: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARS)]],
            Field(max_length=MAX_STOPS),
        ]
        | None
    ) = None


class _Prompt(BaseModel):
    """One prompt in the file. A variable whose default is null is required."""

    model_config = ConfigDict(extra="forbid")

    system: str = Field(min_length=1)
    variables: dict[str, str | None] | None = None
    options: _Options | None = None


def load_prompts(path: Path | None, *, allowed_models: Collection[str]) -> Prompts:
    """The prompts in a file; None is the one that comes with the server.

    Raises SettingsError, which tells each problem as FILE:LINE and quotes no prompt.
    """
    path = path or SHIPPED
    try:
        return _prompts(read_yaml(_content(path)), allowed_models)
    except OSError as error:
        told = [f"  {path}: cannot be read: {error.strerror}; name another file or mend this one"]
    except BadFile as bad:
        found = sorted(bad.problems)
        told = [f"  {path}:{each.line}: {each.what}" for each in found[:_MAX_PROBLEMS_TOLD]]
        if more := len(found) - len(told):
            told.append(f"  and {more} more")
    raise SettingsError("bad prompts, in the file of TURNKEEP_PROMPTS_FILE:\n" + "\n".join(told))


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise BadFile([Problem(1, f"is over {_MAX_BYTES} bytes; is it the right file?")])
    return content


def _prompts(document: Document, allowed_models: Collection[str]) -> Prompts:
    """Raises BadFile with all problems at once."""
    raw = document.value
    problems = document.problems + [
        Problem(document.line(place), what) for place, what in _problems(raw, allowed_models)
    ]
    if problems:
        raise BadFile(problems)
    return Prompts({name: _prompt(name, each) for name, each in raw.items()})


def _prompt(name: str, raw: object) -> Prompt:
    read = _Prompt.model_validate(raw)
    options = read.options.model_dump(exclude_none=True) if read.options else {}
    if "stop" in options:
        options["stop"] = tuple(options["stop"])
    return parse_prompt(name, read.system, read.variables, ModelOptions(**options))


# --- what is wrong, and where -------------------------------------------------------------------


def _problems(raw: object, allowed_models: Collection[str]) -> Iterator[tuple[Place, str]]:
    if not isinstance(raw, dict) or not raw:
        yield (), "holds no prompts; write a prompt's name, and below it system: with its text"
        return
    if DEFAULT not in raw:
        yield (), f"has no prompt named {DEFAULT}, which requests get that name none; add it"
    for name, each in raw.items():
        for place, what in _prompt_problems(name, each, allowed_models):
            keys = ".".join(shown(part)[1:-1] for part in place if isinstance(part, str))
            yield (name, *place), f"prompt {shown(name)}: {keys}{' ' if keys else ''}{what}"


def _prompt_problems(
    name: str, raw: object, allowed_models: Collection[str]
) -> Iterator[tuple[Place, str]]:
    if not _NAME.fullmatch(name):
        yield (), "needs another name: 1 to 128 printable ASCII characters without a space"
    try:
        _Prompt.model_validate(raw)
    except ValidationError as error:
        # Half a character, which pydantic calls no unicode, is told by read_yaml wherever it is.
        found = (each for each in error.errors() if each["type"] != "string_unicode")
        yield from ((each["loc"], _in_words(each)) for each in found)
    if isinstance(raw, dict):
        yield from _template_problems(raw.get("system"), raw.get("variables"))
        yield from _model_problems(raw.get("options"), allowed_models)


def _template_problems(system: object, variables: object) -> Iterator[tuple[Place, str]]:
    if not isinstance(system, str):
        return
    malformed = list(template_problems(system))
    used = frozenset() if malformed else variables_of(system)
    yield from ((("system", index), what) for index, what in malformed)
    for name in variables if isinstance(variables, dict) else ():
        if problem := name_problem(name):
            yield ("variables", name), problem
        elif name not in used and not malformed:
            yield ("variables", name), "is not in the system text; write it there or delete it here"


def _model_problems(
    options: object, allowed_models: Collection[str]
) -> Iterator[tuple[Place, str]]:
    model: Any = options.get("model") if isinstance(options, dict) else None
    if isinstance(model, str) and model not in allowed_models:
        allowed = ", ".join(sorted(allowed_models))
        yield (
            ("options", "model"),
            f"is not allowed; write one of {allowed}, or add it to TURNKEEP_ALLOWED_MODELS",
        )


_WORDS = {
    "missing": "is missing; add it",
    "string_type": "must be text",
    "model_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of names to values",
    "list_type": "must be a list",
    "float_parsing": "must be a number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of 64 bits",
}


def _in_words(error: ErrorDetails) -> str:
    """pydantic's finding, which never quotes the value, in the words of an operator."""
    if error["type"] == "extra_forbidden":
        model = _Options if error["loc"][0] == "options" and len(error["loc"]) > 1 else _Prompt
        return f"is no key here; the keys are {', '.join(model.model_fields)}"
    words = _WORDS.get(error["type"], error["msg"].replace(" after validation", ""))
    return re.sub(r"^\w+ should ", "must ", words)
