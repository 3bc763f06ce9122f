"""The pieces of text that two tokenizers know, and how many of them a word falls into."""

import gzip
import json
from collections.abc import Set
from functools import cache, lru_cache
from importlib.resources import files

LONGEST_CUT_CHARACTERS = 24
"""Longer pieces are lines of one sign, and found only where nothing else stands."""

# Cutting is most of counting, and people use the same words again: up to 5 MB a vocabulary.
_WORDS_REMEMBERED = 32_768
_LONGEST_REMEMBERED = 32


class Vocabulary:
    """One tokenizer's `pieces`; each costs one token.

    They include the first bytes of characters, alone or after a space, as "surrogateescape" writes
    them.
    """

    def __init__(self, pieces: Set[str]) -> None:
        self.pieces = pieces
        self._longest: dict[str, int] = {}  # of the pieces that begin with a character
        for piece in pieces:
            if self._longest.get(piece[0], 1) < len(piece) <= LONGEST_CUT_CHARACTERS:
                self._longest[piece[0]] = len(piece)
        self._scrap_cost = lru_cache(maxsize=8_192)(self._cost_of_scrap)
        self._remembered = lru_cache(maxsize=_WORDS_REMEMBERED)(self._cut)

    def cut(self, word: str) -> int:
        """How many tokens `word` is, when the longest piece that fits is cut off each time.

        The tokenizers join a word's bytes pair by pair instead, in an order of their own. Most
        words come out the same; where not, theirs is the higher number more often than not.
        """
        return self._remembered(word) if len(word) <= _LONGEST_REMEMBERED else self._cut(word)

    def _cut(self, word: str) -> int:
        pieces, longest = self.pieces, self._longest  # this loop is where counting spends its time
        count, start, size = 0, 0, len(word)
        while start < size:
            end = min(start + longest.get(word[start], 1), size)
            while end > start + 1 and word[start:end] not in pieces:
                end -= 1
            if end > start + 1:
                count += 1
            else:
                if word[start] == " " and word[end : end + 1] not in longest:
                    end += 1  # a space joins the first bytes of an emoji
                count += self._scrap_cost(word[start:end])
            start = end
        return count

    def _cost_of_scrap(self, scrap: str) -> int:
        """Tokens of a character, with or without a space before it.

        One if it is a piece, else its first bytes that are one, then byte by byte.
        """
        if scrap in self.pieces:
            return 1
        data = scrap.encode(errors="surrogatepass")
        for size in range(len(data) - 1, 1, -1):
            if data[:size].decode(errors="surrogateescape") in self.pieces:
                return 1 + len(data) - size
        return len(data) if len(scrap) == 1 else 1 + self._scrap_cost(scrap[1])


@cache
def vocabularies() -> tuple[Vocabulary, Vocabulary]:
    """o200k_base and cl100k_base. The first call reads them: ~0.1 s, and 30 MB from then on.

    scripts/vocabulary.mjs tells what is kept of them, vocabulary.LICENSE under which licence.
    """
    packed = files("turnkeep_server").joinpath("vocabulary.json.gz").read_bytes()
    lists = json.loads(gzip.decompress(packed))
    both = frozenset(lists["both"])
    return Vocabulary(both.union(lists["o200k"])), Vocabulary(both.union(lists["cl100k"]))
