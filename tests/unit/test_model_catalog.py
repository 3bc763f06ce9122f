"""What is known of models: by family, over that by the settings, and what a turn cost."""

import pytest

from turnkeep_server.errors import ModelNotAllowed
from turnkeep_server.model_catalog import (
    FAMILIES,
    UNKNOWN,
    ModelFigures,
    Models,
    Vocabulary,
    figures_of,
    is_known,
)
from turnkeep_server.turns import TokenCounts, Usage

PRICED = ModelFigures(input_usd_per_million_tokens=2.0, output_usd_per_million_tokens=8.0)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4.1-nano", "gpt-4.1-nano"),
        ("gpt-4-0613", "gpt-4"),
        ("gpt-4-turbo-preview", "gpt-4-turbo"),
        ("o3-mini", "o3-mini"),
    ],
)
def test_a_model_is_of_the_family_with_the_longest_name(model: str, family: str) -> None:
    assert figures_of(model, {}) == FAMILIES[family]
    assert is_known(model)


@pytest.mark.parametrize("model", ["llama-3.3-70b", "gpt-4omni", "gpt", "модель", "o12"])
def test_a_model_of_no_family_is_small_and_counted_high(model: str) -> None:
    assert figures_of(model, {}) == UNKNOWN
    assert not is_known(model)
    assert UNKNOWN.vocabulary is Vocabulary.CL100K


def test_settings_go_over_the_family_figure_by_figure() -> None:
    figures = figures_of("gpt-4o", {"gpt-4o": PRICED, "gpt-4": ModelFigures(context_tokens=1)})
    assert figures.context_tokens == 128_000
    assert figures.input_usd_per_million_tokens == 2.0
    assert figures_of("gpt-4o", {"gpt-4o": ModelFigures(context_tokens=9)}).context_tokens == 9


def test_every_familys_reply_fits_its_context() -> None:
    for name, figures in FAMILIES.items():
        assert 0 < figures.reply_tokens <= figures.context_tokens, name


def test_a_size_is_the_text_s_and_the_images() -> None:
    counts = TokenCounts(o200k=100, cl100k=140, images=2, tiles=8)
    assert figures_of("gpt-4o", {}).tokens(counts) == 100 + 2 * 85 + 8 * 170
    assert figures_of("gpt-4", {}).tokens(counts) == 140 + 2 * 85 + 8 * 170
    assert figures_of("gpt-4o-mini", {}).tokens(counts) == 100 + 2 * 2_833 + 8 * 5_667


def test_a_cost_is_known_where_prices_are() -> None:
    usage = Usage(input_tokens=1_000, output_tokens=500, cached_input_tokens=400)
    assert UNKNOWN.cost_usd(usage) is None
    assert PRICED.cost_usd(usage) == pytest.approx(0.006)
    cheaper = PRICED.model_copy(update={"cached_input_usd_per_million_tokens": 0.5})
    assert cheaper.cost_usd(usage) == pytest.approx((600 * 2 + 400 * 0.5 + 500 * 8) / 1e6)


def test_only_allowed_models_are_resolved() -> None:
    models = Models("gpt-4o-mini", ["gpt-4o"], {"gpt-4o": ModelFigures(token_ratio=1.5)})
    assert [models.resolve(each) for each in (None, "", "gpt-4o")] == [
        *("gpt-4o-mini", "gpt-4o-mini", "gpt-4o")
    ]
    assert models.seeds() == {"gpt-4o": 1.5}
    with pytest.raises(ModelNotAllowed) as refused:
        models.resolve("gpt-9")
    assert refused.value.metadata == {"allowed_models": "gpt-4o, gpt-4o-mini"}
