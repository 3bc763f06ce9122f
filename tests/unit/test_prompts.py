"""Named prompts, their variables, and what is refused about them."""

import pytest

from turnkeep_server.errors import MissingVariable, SettingsError, UnknownPrompt
from turnkeep_server.prompts import Prompts, parse_prompt

EXPERT = "Ты полезный ассистент, отлично разбирающийся в {topic}. Пиши {{так}}."


def test_the_variables_of_a_prompt_are_found() -> None:
    assert parse_prompt("default", EXPERT).variables == {"topic"}


def test_the_default_prompt_is_picked_by_an_empty_name_or_its_own() -> None:
    prompts = Prompts({"default": parse_prompt("default", EXPERT)})
    for name in ("", "default"):
        prompt, values = prompts.pick(name, {"topic": "математика {x}", "unused": "y"})
        assert prompt.name == "default"
        assert values == {"topic": "математика {x}"}


def test_an_unknown_prompt_is_refused_with_the_choices() -> None:
    prompts = Prompts({"default": parse_prompt("default", "a"), "expert": parse_prompt("e", "b")})
    with pytest.raises(UnknownPrompt) as refused:
        prompts.pick("exprt", {})
    assert refused.value.metadata["known_prompts"] == "default, expert"


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(MissingVariable, match="topic"):
        Prompts({"default": parse_prompt("default", EXPERT)}).pick("", {})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        "{topic",
        "{0}",
        "{}",
        "{a.b}",
        "{a[0]}",
        "{chat_history}",
        "{question}",
        "{x:d}",
        "{x!r}",
        '{"a": 1}',
    ],
)
def test_a_template_that_could_not_be_filled_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="default"):
        parse_prompt("default", text)
