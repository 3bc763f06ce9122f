"""What is known of a model: how much it reads, how it counts, what it costs. One visible table."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from turnkeep_server.errors import ModelNotAllowed
from turnkeep_server.turns import TokenCounts, Usage

_A_MILLION = 1_000_000


class Vocabulary(StrEnum):
    """By which of the two estimates a model's text is counted."""

    O200K = "o200k"
    CL100K = "cl100k"


class ModelFigures(BaseModel):
    """A model's figures; an operator may set any of them in TURNKEEP_MODEL_FIGURES.

    Prices have no defaults: they change, and differ between contracts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    context_tokens: PositiveInt = Field(8_192, description="tokens of a prompt and its reply")
    reply_tokens: PositiveInt = Field(4_096, description="longest reply")
    vocabulary: Vocabulary = Vocabulary.CL100K
    image_tokens: NonNegativeInt = 85
    tile_tokens: NonNegativeInt = 170
    token_ratio: float | None = Field(None, gt=0, description="reported tokens to estimated ones")
    input_usd_per_million_tokens: NonNegativeFloat | None = None
    cached_input_usd_per_million_tokens: NonNegativeFloat | None = None
    output_usd_per_million_tokens: NonNegativeFloat | None = None

    def tokens(self, counts: TokenCounts) -> int:
        """The estimated size for this model, before the correction."""
        text = counts.o200k if self.vocabulary is Vocabulary.O200K else counts.cl100k
        return text + counts.images * self.image_tokens + counts.tiles * self.tile_tokens

    def cost_usd(self, usage: Usage) -> float | None:
        """What a turn cost, None where the prices are not set."""
        fresh, output = self.input_usd_per_million_tokens, self.output_usd_per_million_tokens
        if fresh is None or output is None:
            return None
        cached = self.cached_input_usd_per_million_tokens
        cost = (
            (usage.input_tokens - usage.cached_input_tokens) * fresh
            + usage.cached_input_tokens * (fresh if cached is None else cached)
            + usage.output_tokens * output
        )
        return cost / _A_MILLION


UNKNOWN = ModelFigures()
"""For a model of no known family: small, and counted by the vocabulary that gives more tokens."""


def _known(context: int, reply: int, image: int = 85, tile: int = 170) -> ModelFigures:
    return ModelFigures(
        context_tokens=context,
        reply_tokens=reply,
        vocabulary=Vocabulary.O200K,
        image_tokens=image,
        tile_tokens=tile,
    )


# Sizes: https://platform.openai.com/docs/models. Images, base and tile:
# https://platform.openai.com/docs/guides/images-vision (calculating costs). Models that count
# patches of 32 pixels (at most 1,536 times a factor) have figures that come out no lower.
FAMILIES: Mapping[str, ModelFigures] = {
    "gpt-5": _known(400_000, 128_000, 70, 140),
    "gpt-5-mini": _known(400_000, 128_000, 830, 415),
    "gpt-5-nano": _known(400_000, 128_000, 1_260, 630),
    "gpt-4.1": _known(1_047_576, 32_768),
    "gpt-4.1-mini": _known(1_047_576, 32_768, 830, 415),
    "gpt-4.1-nano": _known(1_047_576, 32_768, 1_260, 630),
    "gpt-4o": _known(128_000, 16_384),
    "gpt-4o-mini": _known(128_000, 16_384, 2_833, 5_667),
    "o1": _known(200_000, 100_000, 75, 150),
    "o3": _known(200_000, 100_000, 75, 150),
    "o3-mini": _known(200_000, 100_000, 75, 150),
    "o4-mini": _known(200_000, 100_000, 882, 441),
    "gpt-4-turbo": ModelFigures(context_tokens=128_000, reply_tokens=4_096),
    "gpt-4": ModelFigures(context_tokens=8_192, reply_tokens=8_192),
    "gpt-3.5-turbo": ModelFigures(context_tokens=16_385, reply_tokens=4_096),
    "parrot": _known(128_000, 16_384),
}
"""Family → figures. `gpt-4o-2024-08-06` is of the family `gpt-4o`."""


class Models:
    """The models that requests may name, and what is known of each."""

    def __init__(
        self, default: str, allowed: Iterable[str], given: Mapping[str, ModelFigures]
    ) -> None:
        self.default = default
        self._figures = {name: figures_of(name, given) for name in sorted({default, *allowed})}

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, by name."""
        return tuple(self._figures)

    def resolve(self, name: str | None) -> str:
        """The name of the model that is meant; None or empty is the default one.

        Raises ModelNotAllowed, which names the choices.
        """
        if name and name not in self._figures:
            allowed = ", ".join(self._figures)
            raise ModelNotAllowed("the server does not allow this model", allowed_models=allowed)
        return name or self.default

    def figures(self, name: str) -> ModelFigures:
        """What is known of a model that is allowed."""
        return self._figures[name]

    def seeds(self) -> dict[str, float]:
        """The models whose correction the settings begin with, and those corrections."""
        known = {name: each.token_ratio for name, each in self._figures.items()}
        return {name: ratio for name, ratio in known.items() if ratio is not None}


def figures_of(model: str, settings: Mapping[str, ModelFigures]) -> ModelFigures:
    """What is known of a model: its family's figures, and over them those that settings give."""
    known = _family(model) or UNKNOWN
    given = settings.get(model)
    return known.model_copy(update=given.model_dump(exclude_unset=True)) if given else known


def is_known(model: str) -> bool:
    """Whether the model is of a family in the table."""
    return _family(model) is not None


def _family(model: str) -> ModelFigures | None:
    """By the longest family name that the model's name is, or begins with before a dash."""
    families = [each for each in FAMILIES if model == each or model.startswith(f"{each}-")]
    return FAMILIES[max(families, key=len)] if families else None
