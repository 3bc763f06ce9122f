"""The file of named prompts: what it gives, and every mistake in it with its line, at once."""

import json
import math
from pathlib import Path

import pytest

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.commands import ModelOptions
from turnkeep_server.errors import SettingsError
from turnkeep_server.prompts import Prompt
from turnkeep_server.prompts_file import load_prompts
from turnkeep_server.request_limits import Limits
from turnkeep_server.validation import chat_violations

MODELS = {"gpt-4o", "gpt-4o-mini"}
CANARY = "КАНАРЕЙКА"
FULL = """\
default:
  system: no
tutor:
  system: |-
    Ты учишь {предмет}.
    Язык: {language}; пиши {{так}}, 说 {tone}.
  variables:
    предмет:
    language: no
    tone: "null"
  options:
    model: gpt-4o
    temperature: 0
    top_p: 1e-1
    max_output_tokens: 1_000
    seed: -3
    stop: ["СТОП", 007]
plain: {system: "{{}} 🎓", variables: , options: }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "промпты.yaml"


def load(file: Path, content: str | bytes) -> dict[str, Prompt]:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return {each.name: each for each in load_prompts(file, allowed_models=MODELS)}


def refused(file: Path, content: str | bytes) -> list[tuple[int, str]]:
    """Each problem as its line and words."""
    with pytest.raises(SettingsError) as error:
        load(file, content)
    assert CANARY not in str(error.value)
    heading, *told = str(error.value).splitlines()
    assert "TURNKEEP_PROMPTS_FILE" in heading
    problems = []
    for each in told:
        assert each.startswith(f"  {file}:"), each
        line, what = each.removeprefix(f"  {file}:").split(": ", 1)
        problems.append((int(line), what))
    return problems


def test_the_file_that_comes_with_the_server_has_two_prompts() -> None:
    default, expert = load_prompts(None, allowed_models=())
    assert (default.name, default.system) == ("default", "You are a helpful assistant.")
    assert expert.system == "You are a helpful assistant who knows {topic} well."
    assert expert.variables == {"topic": None}
    assert default.options == expert.options == ModelOptions()


def test_the_prompts_page_shows_a_good_file_and_what_mistakes_in_it_give(file: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    assert list(load(file, example)) == ["default", "tutor"]
    wrong = example.replace('{{"answer": 42}}', '{"answer": 42}').replace(
        "temperature", "temprature"
    )
    problems = refused(file, wrong)
    assert len(problems) == 2
    for line, what in problems:
        assert f"  prompts.yaml:{line}: {what}\n" in page


def test_a_file_gives_texts_defaults_and_options(file: Path) -> None:
    prompts = load(file, FULL)
    assert prompts["default"].system == "no"
    assert prompts["tutor"] == Prompt(
        "tutor",
        "Ты учишь {предмет}.\nЯзык: {language}; пиши {{так}}, 说 {tone}.",
        {"предмет": None, "language": "no", "tone": "null"},
        ModelOptions("gpt-4o", 0.0, 0.1, 1_000, -3, ("СТОП", "007")),
    )
    assert prompts["plain"] == Prompt("plain", "{{}} 🎓")


def test_a_byte_order_mark_and_carriage_returns_are_nothing(file: Path) -> None:
    content = "\ufeffdefault:\r\n  system: |-\r\n    раз\r\n    два\r\n"
    assert load(file, content)["default"].system == "раз\nдва"


def test_a_variable_that_is_not_declared_is_required(file: Path) -> None:
    assert load(file, "default: {system: 'Знай {topic}.'}")["default"].variables == {"topic": None}


# One mistake each, in a file that has a good `default` in line 1: its line, and words that must be.
ONE_MISTAKE = {
    "no-mapping": ("x: text", 2, "'x': must be a mapping"),
    "nothing": ("x:", 2, "'x': must be a mapping"),
    "list": ("x: [a]", 2, "'x': must be a mapping"),
    "bad-name": ('"a b": {system: a}', 2, "'a b': needs another name: 1 to 128 printable ASCII"),
    "name-in-russian": ("учитель: {system: a}", 2, "'учитель': needs another name"),
    "long-name": (f"? {'x' * 129}\n: {{system: a}}", 2, "needs another name"),
    "empty-name": ('"": {system: a}', 2, "needs another name"),
    "no-system": ("x: {options: {seed: 1}}", 2, "system is missing"),
    "empty-system": ('x: {system: ""}', 2, "system must have at least 1"),
    "null-system": ("x:\n  system:\n", 3, "system must be text"),
    "system-list": (f"x:\n  system:\n    - {CANARY}\n", 3, "system must be text"),
    "unknown-key": ("x:\n  system: a\n  sytem: b\n", 4, "sytem is no key here; the keys are"),
    "unknown-option": (
        "x:\n  system: a\n  options:\n    color: red",
        5,
        "options.color is no key here; the keys are model, temperature, top_p, max_output_tokens",
    ),
    "key-twice": ("x:\n  system: a\n  system: b\n", 4, "'system' again, after line 3"),
    "prompt-twice": (
        "x: {system: a}\ny: {system: b}\nx: {system: c}",
        4,
        "'x' again, after line 2",
    ),
    "variable-twice": ("x: {system: '{a}',\n  variables: {a: b,\n  a: c}}", 4, "'a' again"),
    "null-key": ("x:\n  system: a\n  ~: b", 4, "key that is no text"),
    "list-as-key": ("x:\n  system: a\n  ? [b]\n  : c", 4, "key that is no text"),
    "one-brace": (f"x:\n  system: {CANARY} {{", 3, "brace without its other half"),
    "brace-in-a-block": (
        f'x:\n  system: |\n    {CANARY}\n    {{"{CANARY}": 1}}\n',
        5,
        "no variable's name; write {name}",
    ),
    "brace-in-a-folded-block": ("x:\n  system: >\n    раз\n    {0}\n", 3, "no variable's name"),
    "format": ("x: {system: '{a:>9}'}", 2, "format or conversion for the variable a"),
    "conversion": ("x: {system: '{a!r}'}", 2, "format or conversion for the variable a"),
    "reserved": ("x: {system: '{question}'}", 2, "variable question, which needs another name"),
    "reserved-by-langchain": ("x: {system: '{self}'}", 2, "variable self, which needs another"),
    "variables-list": ("x:\n  system: '{a}'\n  variables: [a]", 4, "variables must be a mapping"),
    "default-list": (
        "x:\n  system: '{a}'\n  variables:\n    a: [b]",
        5,
        "variables.a must be text",
    ),
    "unused": (
        f"x:\n  system: a\n  variables:\n    topic: {CANARY}",
        5,
        "variables.topic is not in the system text",
    ),
    "bad-variable": (
        "x:\n  system: a\n  variables:\n    a b: c",
        5,
        "variables.a b needs another name: letters",
    ),
    "reserved-default": (
        "x:\n  system: a\n  variables:\n    chat_history: c",
        5,
        "variables.chat_history needs another name",
    ),
    "options-text": ("x:\n  system: a\n  options: hot", 4, "options must be a mapping"),
    "hot": ("x:\n  system: a\n  options: {temperature: 2.1}", 4, "temperature must be less than"),
    "cold": ("x:\n  system: a\n  options: {temperature: -1}", 4, "temperature must be greater"),
    "nan": ("x:\n  system: a\n  options: {temperature: nan}", 4, "temperature must be a finite"),
    "word": (f"x:\n  system: a\n  options: {{temperature: {CANARY}}}", 4, "must be a number"),
    "true": ("x:\n  system: a\n  options: {temperature: true}", 4, "must be a number"),
    "no-top-p": ("x:\n  system: a\n  options: {top_p: 0}", 4, "top_p must be greater than 0"),
    "no-output": ("x: {system: a, options: {max_output_tokens: 0}}", 2, "max_output_tokens must"),
    "half": ("x: {system: a, options: {seed: 1.5}}", 2, "seed must be a whole number"),
    "huge": ("x: {system: a, options: {seed: 9223372036854775808}}", 2, "seed must be less"),
    "endless": (f"x: {{system: a, options: {{seed: {'9' * 5_000}}}}}", 2, "seed must be a whole"),
    "stop-text": ("x: {system: a, options: {stop: b}}", 2, "options.stop must be a list"),
    "five-stops": ("x: {system: a, options: {stop: [a, b, c, d, e]}}", 2, "at most 4 items"),
    "empty-stop": ("x: {system: a, options: {stop: [a,\n  '']}}", 3, "options.stop must have"),
    "long-stop": (f"x: {{system: a, options: {{stop: [{'я' * 257}]}}}}", 2, "at most 256"),
    "model": (
        f"x:\n  system: a\n  options:\n    model: {CANARY}",
        5,
        "options.model is not allowed; write one of gpt-4o, gpt-4o-mini",
    ),
    "tag": (f"x: !!python/object:os.system {{system: {CANARY}}}", 2, "YAML tag"),
    "own-tag": (f"x:\n  system: !secret {CANARY}", 3, "YAML tag"),
    "half-a-character": (f'x:\n  system: "{CANARY} \\ud83d"', 3, "half a character"),
    "half-a-character-in-a-default": (
        'x:\n  system: "{a}"\n  variables: {a: "\\ud83d"}',
        4,
        "half a character",
    ),
    # What ends the reading of the file.
    "alias": ("x: &a {system: b}\ny: *a", 3, "alias"),
    "bomb": ("a: &a [b, b]\nb: &b [*a, *a]\nc: [*b, *b]", 3, "alias"),
    "alias-to-itself": ("x: &a\n  system: *a", 3, "alias"),
    "open-quote": (f"x:\n  system: '{CANARY}\n\n", 5, "quoted scalar that begins in line 3"),
    "colon-in-text": (f"x:\n  system: {CANARY}: b", 3, "mapping values are not allowed here"),
    "tab": ("x:\n\tsystem: a", 3, "cannot start any token"),
    "control-character": (f"x:\n  system: {CANARY}\x07", 3, "control character"),
    "two-documents": ("---\nx: {system: a}", 2, "another document"),
    "deep": ("x: " + "[" * 100_000, 1, "nested too deeply"),
}


@pytest.mark.parametrize(("text", "line", "words"), ONE_MISTAKE.values(), ids=ONE_MISTAKE)
def test_a_mistake_is_told_with_its_line_and_no_more(
    file: Path, text: str, line: int, words: str
) -> None:
    ((told_line, what),) = refused(file, f"default: {{system: a}}\n{text}")
    assert told_line == line
    assert words in what
    assert len(what) < 300


def test_every_mistake_is_told_at_once_in_order(file: Path) -> None:
    content = f"""\
tutor:
  system: |
    {CANARY} {{a.b}}
    {{question}}
    }}
  options: {{temperature: 3, top_p: 2}}
  vars: {{}}
expert:
  variables: {{topic: {CANARY}}}
  variables: 1
two words:
  system: !x "{{a!s}}"
  options:
    model: gpt-9
"""
    problems = refused(file, content)
    assert [line for line, _ in problems] == [1, 3, 4, 5, 6, 6, 7, 8, 10, 11, 12, 12, 14]
    assert "no prompt named default" in problems[0][1]


def test_names_are_told_and_cut_when_they_are_long(file: Path) -> None:
    ((_, what),) = refused(file, f"default:\n  system: a\n  {'x' * 500}: b")
    assert "x" * 50 in what
    assert len(what) < 300


def test_a_thousand_mistakes_are_told_as_fifty_and_a_number(file: Path) -> None:
    file.write_text("default: {system: a}\n" + "".join(f"p{n}: text\n" for n in range(1_000)))
    with pytest.raises(SettingsError) as error:
        load_prompts(file, allowed_models=MODELS)
    *told, more = str(error.value).splitlines()[1:]
    assert (len(told), more) == (50, "  and 950 more")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("temperature", value) for value in (-0.1, 0.0, 2.0, 2.1, math.nan, math.inf)),
        *(("top_p", value) for value in (0.0, 0.001, 1.0, 1.1, math.nan)),
        *(("max_output_tokens", value) for value in (-1, 0, 1, 2**63 - 1)),
        *(("seed", value) for value in (-(2**63), 0, 2**63 - 1)),
        *(("stop", value) for value in ([], [""], ["я" * 256], ["я" * 257], ["a"] * 4, ["a"] * 5)),
    ],
)
def test_the_file_takes_the_options_that_requests_may_have(
    file: Path, option: str, value: object
) -> None:
    wire = pb.ChatRequest(session_id="s", text="?", options=pb.ModelOptions(**{option: value}))
    taken = not list(chat_violations(wire, Limits()))
    content = f"default: {{system: a, options: {{{option}: {json.dumps(value)}}}}}"
    if taken:
        stored = getattr(load(file, content)["default"].options, option)
        assert stored == (tuple(value) if isinstance(value, list) else value)
    else:
        assert len(refused(file, content)) == 1


@pytest.mark.parametrize("content", ["", "# нет\n", "---\n", "- a\n", "text", "{}", "~"])
def test_a_file_without_prompts_is_refused(file: Path, content: str) -> None:
    ((line, what),) = refused(file, content)
    assert line == 1
    assert "holds no prompts" in what


def test_a_file_that_is_no_utf8_is_refused_with_the_line(file: Path) -> None:
    ((line, what),) = refused(file, b"default:\n  system: \xcf\xf0\xe8\xe2\xe5\xf2\n")
    assert (line, "UTF-8" in what) == (2, True)
    ((line, what),) = refused(file, "default: {system: a}".encode("utf-16"))
    assert (line, "UTF-8" in what) == (1, True)


def test_a_file_is_read_up_to_a_mebibyte(file: Path) -> None:
    most = "default: {system: " + "я" * (2**19 - 10) + "}"
    assert len(most.encode()) == 2**20 - 1
    load(file, most + " ")
    ((line, what),) = refused(file, most + "  ")
    assert (line, "1048576 bytes" in what) == (1, True)


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_prompts(tmp_path / name, allowed_models=MODELS)
    assert f"{tmp_path / name}: cannot be read" in str(error.value)
