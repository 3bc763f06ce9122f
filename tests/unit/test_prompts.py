"""Named prompts, their variables, and what is refused about them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.prompts import ChatPromptTemplate

from turnkeep_server.errors import MissingVariable, SettingsError, UnknownPrompt
from turnkeep_server.prompts import Prompts, parse_prompt

EXPERT = "Ты полезный ассистент, отлично разбирающийся в {topic}. Пиши {{так}}."
TUTOR = "Учи {предмет} на {level}: {предмет}!"
AWKWARD = [
    "математика",
    "{topic} {0} {{x}} {} }{",
    "$x ${y} %s %(z)d",
    "'одна' \"две\" \\ \\n",
    "中文 عربى हिन्दी 👩‍🔬\u202e\x00",
    " \n\t",
    "",
]


def test_the_variables_of_a_prompt_are_found() -> None:
    assert parse_prompt("default", EXPERT).variables == {"topic": None}
    assert parse_prompt("default", TUTOR, {"level": "5 класс"}).variables == {
        "level": "5 класс",
        "предмет": None,
    }


def test_the_default_prompt_is_picked_by_an_empty_name_or_its_own() -> None:
    prompts = Prompts({"default": parse_prompt("default", EXPERT)})
    for name in ("", "default"):
        prompt, values = prompts.pick(name, {"topic": "математика {x}", "unused": "y"})
        assert prompt.name == "default"
        assert values == {"topic": "математика {x}"}


def test_a_value_of_the_request_goes_before_a_default_though_it_is_empty() -> None:
    prompts = Prompts({"default": parse_prompt("default", TUTOR, {"level": "5 класс"})})
    _, values = prompts.pick("", {"предмет": "几何"})
    assert values == {"предмет": "几何", "level": "5 класс"}
    _, values = prompts.pick("", {"предмет": "几何", "level": ""})
    assert values == {"предмет": "几何", "level": ""}


def test_an_unknown_prompt_is_refused_with_the_choices() -> None:
    prompts = Prompts({"default": parse_prompt("default", "a"), "expert": parse_prompt("e", "b")})
    with pytest.raises(UnknownPrompt) as refused:
        prompts.pick("exprt", {})
    assert refused.value.metadata["known_prompts"] == "default, expert"


def test_every_missing_variable_is_named() -> None:
    with pytest.raises(MissingVariable) as missing:
        Prompts({"default": parse_prompt("default", TUTOR)}).pick("", {"topic": "x"})
    assert missing.value.metadata["missing_variables"] == "level, предмет"


@pytest.mark.parametrize("value", AWKWARD, ids=ascii)
def test_the_system_text_is_what_langchain_makes_of_the_template(value: str) -> None:
    _assert_as_langchain(value)


@given(st.text())
def test_the_system_text_of_any_value_is_what_langchain_makes_of_it(value: str) -> None:
    _assert_as_langchain(value)


def _assert_as_langchain(value: str) -> None:
    system = "{a}{{a}} {{{a}}} }}{{ 'x' \"y\" $b 说 {b}"
    values = {"a": value, "b": value}
    (expected,) = ChatPromptTemplate([("system", system)]).invoke(values).to_messages()
    assert parse_prompt("default", system).system_text(values) == expected.text


def test_equal_prompts_are_one_key() -> None:
    first, second = (parse_prompt("e", EXPERT, {"topic": "x"}) for _ in range(2))
    assert {first: 1}[second] == 1
    assert first != parse_prompt("e", EXPERT)


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
        "{a\n}",
        "{chat_history}",
        "{question}",
        "{self}",
        "{x:d}",
        "{x!r}",
        '{"a": 1}',
    ],
)
def test_a_template_that_could_not_be_filled_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="default"):
        parse_prompt("default", text)
