"""How many tokens a message costs, estimated. Pure, offline.

The formula. A text is split into runs as OpenAI's tokenizers split it: a word with the sign or
space before it, up to three digits, a row of signs, white space. A run that is a piece of the
vocabulary costs 1. Any other is cut into pieces, the longest that fits each time, and costs
1.04 · pieces + 0.25. The sum is rounded up. That is done with the vocabularies of two tokenizers,
o200k_base and cl100k_base, whatever the script.

The two figures make up for the tokenizers' joining bytes in an order of their own, which takes a
piece more here and there. They were chosen on 18,000 texts of 20 to 3,000 characters in some 500
languages, code, figures and emoji (Universal Dependencies, the Universal Declaration of Human
Rights, translated documentation, open-source code, invented tables and chats): with them 1 text of
the 18,000 was estimated at under 0.9 of its tokens, at 0.89. Nothing else is fitted. A linear
formula over counts of letters, accents, pairs of letters and lengths of words, fitted by least
squares on the same Latin texts, was tried first: on languages and chats that it had not seen it
went as low as 0.6, so it would have had to overstate every text by half.

How well it does on texts that had no part in this: tests/data/tokens/README.md.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from turnkeep_server.attachments import PAGE_TILES, image_tiles, pdf_pages
from turnkeep_server.turns import (
    ContentPart,
    FilePart,
    ImagePart,
    Message,
    TextPart,
    TokenCounts,
    ToolCall,
)
from turnkeep_server.vocabulary import LONGEST_CUT_CHARACTERS, Vocabulary, vocabularies

# https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken: 3 tokens a message, its
# role and its name as texts of it, 1 more for a name, and 3 with which every reply begins.
MESSAGE_TOKENS = 3
ROLE_TOKENS = 1
NAME_TOKENS = 1
REPLY_PRIMING_TOKENS = 3

# No rule is published for these: a call is taken for a message of its own, a page of a PDF for an
# image and 500 English words, and any other file for text of four bytes a token.
TOOL_CALL_TOKENS = 3
PDF_PAGE_TEXT_TOKENS = 700
FILE_BYTES_A_TOKEN = 4
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/yaml")

_CUT_FACTOR = 1.04
_CUT_TOKENS = 0.25
# Cutting takes several times as long as finding. Where there is more to cut than this, every other
# run stands for all, or every third, and so on to every sixteenth.
_CUT_CHARACTERS = 1_024
_LONGEST_STRIDE = 16

# What the tokenizers' own patterns match (scripts/vocabulary.mjs names their package), but for
# lengths: every repetition is bounded, so that no text makes matching slow. Marks, the vowel signs
# of Devanagari for one, are letters to them and not to Python.
_MARKS = "".join(c for c in map(chr, range(0x300, 0x3100)) if unicodedata.category(c)[0] == "M")
_RUN = re.compile(
    rf"""
      (?: [^\w\r\n] | _ )?                                     # the sign or the space before a word
      [^\W\d_]{{1,{LONGEST_CUT_CHARACTERS}}}
      (?: [{_MARKS}]{{1,8}} [^\W\d_]{{0,16}} ){{0,8}}
      (?: ' (?: [stmdSTMD] | ll | re | ve | LL | RE | VE ) (?! [^\W\d_] ) )?
    | \d{{1,3}}
    | [ ]? (?: [^\w\s]{{1,64}} | _{{1,64}} ){{1,8}} [\r\n/]{{0,64}}
    | \s{{0,64}} [\r\n]{{1,64}} | \s{{1,64}} (?! \S ) | \s{{1,64}}
    """,
    re.VERBOSE,
)


def count(message: Message) -> TokenCounts:
    """What the message adds to a prompt, by any model that counts as OpenAI's do.

    Images are counted apart: what one costs is the model's. Ids of tool calls are counted as text,
    though not every provider shows them to its model. Metadata are not sent, and cost nothing.

    It takes ~0.1 µs a character of English and up to 1 µs of others, ~10 ms for the longest text
    there may be: who counts many messages on an event loop gives way between them.
    """
    total = _EVERY_MESSAGE
    if not (message.parts or message.name or message.tool_calls or message.tool_call_id):
        return total + count_text(message.text)
    for part in message.parts or (TextPart(message.text),):
        total += _part(part)
    if message.name:
        total += count_text(message.name) + _flat(NAME_TOKENS)
    for call in message.tool_calls:
        total += _call(call)
    return total + count_text(message.tool_call_id)


def counted(message: Message) -> Message:
    """The message with its tokens counted."""
    return replace(message, tokens=count(message))


def count_text(text: str) -> TokenCounts:
    """The text alone, with nothing around it. Any text will do, one with lone surrogates too."""
    runs = Counter(_RUN.findall(text))
    o200k, cl100k = vocabularies()
    return TokenCounts(o200k=_tokens(runs, o200k), cl100k=_tokens(runs, cl100k))


def _tokens(runs: Counter[str], vocabulary: Vocabulary) -> int:
    pieces = vocabulary.pieces
    others = [run for run in runs if run not in pieces]
    whole = runs.total() - sum(map(runs.__getitem__, others))
    stride = min(1 + sum(map(len, others)) // _CUT_CHARACTERS, _LONGEST_STRIDE)
    sample = others[::stride]
    cut = sum(runs[run] * (_CUT_FACTOR * vocabulary.cut(run) + _CUT_TOKENS) for run in sample)
    if len(sample) < len(others):
        cut *= _bytes(runs, others) / _bytes(runs, sample)
    return math.ceil(whole + cut)


def _bytes(runs: Counter[str], some: list[str]) -> int:
    """Bytes, for a byte costs about the same in every script, and a character does not."""
    return sum(runs[run] * len(run.encode(errors="surrogatepass")) for run in some)


def _part(part: ContentPart) -> TokenCounts:
    match part:
        case TextPart(text):
            return count_text(text)
        case ImagePart(url):
            return TokenCounts(images=1, tiles=image_tiles(url))
        case FilePart():
            return count_text(part.name) + _file(part)


def _file(file: FilePart) -> TokenCounts:
    """A file's content; no provider says how it counts one (see the constants)."""
    if file.media_type.lower().startswith(_TEXT_TYPES):
        return count_text(file.data.decode(errors="replace"))
    if file.media_type == "application/pdf":
        pages = pdf_pages(file.data)
        images = TokenCounts(images=pages, tiles=pages * PAGE_TILES)
        return _flat(pages * PDF_PAGE_TEXT_TOKENS) + images
    return _flat(math.ceil(len(file.data) / FILE_BYTES_A_TOKEN))


def _call(call: ToolCall) -> TokenCounts:
    texts = count_text(call.id) + count_text(call.name) + count_text(call.arguments_json)
    return texts + _flat(TOOL_CALL_TOKENS)


def _flat(tokens: int) -> TokenCounts:
    return TokenCounts(o200k=tokens, cl100k=tokens)


_EVERY_MESSAGE = _flat(MESSAGE_TOKENS + ROLE_TOKENS)


class TokenEstimator:
    """What the models report, set against what was estimated: a correction for each, in memory.

    `seeds` are ratios to begin with; each counts as much as the first report. A model that nobody
    seeded has 1 until it has reported, and from its first report on that report's ratio.
    """

    LOWEST, HIGHEST = 0.2, 5.0
    DECAY = 0.9
    """What a report still weighs when the next one comes: half after seven."""

    def __init__(self, seeds: Mapping[str, float] | None = None) -> None:
        self._seeds = dict(seeds or {})
        self._sums: dict[str, tuple[float, float]] = {}  # by model: estimated and reported, decayed

    def ratio(self, model: str) -> float:
        """What to multiply an estimate for `model` by, from LOWEST to HIGHEST."""
        estimated, reported = self._sums.get(model, (1.0, self._seeds.get(model, 1.0)))
        return min(max(reported / estimated, self.LOWEST), self.HIGHEST)

    def learn(self, model: str, estimated: int, reported: int) -> None:
        """Takes in one turn: input tokens, as estimated before any correction and as reported.

        A figure of 0 or below says nothing and is ignored. A report beyond the bounds counts as the
        bound, so that one of nonsense is soon forgotten.
        """
        if estimated <= 0 or reported <= 0:
            return
        bounded = min(max(reported, estimated * self.LOWEST), estimated * self.HIGHEST)
        start = (
            (float(estimated), estimated * self.ratio(model))
            if model in self._seeds
            else (0.0, 0.0)
        )
        past_estimated, past_reported = self._sums.get(model, start)
        self._sums[model] = (
            past_estimated * self.DECAY + estimated,
            past_reported * self.DECAY + bounded,
        )
