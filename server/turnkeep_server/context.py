"""What one turn sends to the model: read as far as its budget goes, and put together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from turnkeep_server.chain import Question
from turnkeep_server.commands import ContextPolicy
from turnkeep_server.context_window import (
    Budget,
    ContextWindow,
    Estimate,
    fit,
    room_beside,
    size_of_all,
)
from turnkeep_server.history.contract import ChatMessageHistory, Tail
from turnkeep_server.model_catalog import ModelFigures, Models
from turnkeep_server.summary_text import summary_message
from turnkeep_server.tokens import TokenEstimator, count
from turnkeep_server.turns import ContextReport, Message, Summary, Turn, TurnStatus

_MOST_TURNS_A_READ = 50
_MOST_TURNS_PASSED_OVER = 50
_SUMMARY_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Omitted:
    """What of a session is outside the window: a summary of it may be due.

    `summary` is the newest there is, and `messages` counts those that it does not cover; all are of
    turns before the sequence `before`.
    """

    summary: Summary | None
    messages: int
    before: int


@dataclass(frozen=True, slots=True)
class Context:
    """The messages that go to the model between the prompt and the question.

    A summary comes first, if there is one. `uncorrected_tokens` is the estimated size of all that
    is sent, without the model's correction: what the reported usage is to be compared with. None
    where images or files are sent: of those the estimate is no more than a bound.
    """

    messages: tuple[Message, ...]
    report: ContextReport
    uncorrected_tokens: int | None
    omitted: Omitted


class Contexts:
    """Puts contexts together, by the server's defaults where a request says nothing.

    `max_messages` is the default; `max_input_tokens` the default and the most, None all that the
    model reads.
    `reply_reserve_tokens`: kept for a reply whose request says nothing.
    `summary_max_tokens`: the most that summaries take; 0 uses none.
    """

    def __init__(
        self,
        *,
        models: Models,
        estimator: TokenEstimator,
        max_messages: int,
        max_input_tokens: int | None,
        reply_reserve_tokens: int,
        summary_max_tokens: int,
    ) -> None:
        self._models = models
        self._estimator = estimator
        self._max_messages = max_messages
        self._max_input_tokens = max_input_tokens
        self._reply_reserve_tokens = reply_reserve_tokens
        self._summary_max_tokens = summary_max_tokens

    def turns_a_read(self, policy: ContextPolicy) -> int:
        """As many turns as fill a window by messages, if each is a question and its reply."""
        return min(max(1, self._messages(policy) // 2), _MOST_TURNS_A_READ)

    def budget(self, model: str, policy: ContextPolicy, reply_tokens: int | None) -> Budget:
        """How much a request may send: never more than the model reads beside its reply.

        `reply_tokens` is the longest reply that the request asks for, None if it says nothing.
        """
        figures = self._models.figures(model)
        reserve = reply_tokens or min(self._reply_reserve_tokens, figures.context_tokens // 2)
        readable = max(figures.context_tokens - min(reserve, figures.reply_tokens), 0)
        most = min(self._max_input_tokens or readable, readable)
        return Budget(min(policy.max_input_tokens or most, most), self._messages(policy))

    def size(self, model: str, message: Message) -> int:
        """The estimated size of a message, in tokens of this model."""
        return estimate_by(self._models.figures(model), self._estimator.ratio(model))(message)

    async def read(
        self, history: ChatMessageHistory, tail: Tail, question: Question, policy: ContextPolicy
    ) -> Context:
        """The context of a turn behind `tail`. Raises ContextTooLarge or HistoryUnavailable.

        Older turns are read only as far as those of the tail leave room, and the summary only if
        something is left out.
        """
        figures = self._models.figures(question.model)
        estimate = estimate_by(figures, self._estimator.ratio(question.model))
        budget = self.budget(question.model, policy, question.options.max_output_tokens)
        always = size_of_all(question.always, estimate)
        room = room_beside(always, budget)
        turns, window = await self._read_window(history, tail, room, estimate, question.message)
        wanted = window.omitted_messages and self._summary_max_tokens
        summary = await history.summary() if wanted else None
        told = summary and summary_message(summary, self._summary_room(budget, room), estimate)
        if told:
            beside = replace(room, tokens=room.tokens - estimate(told))
            shorter = fit(turns, beside, estimate, question.message)
            # A summary never takes the newest turn's place.
            told = told if shorter.messages or not window.messages else None
            window = shorter if told else window
        messages = (*([told] if told else []), *window.messages)
        return Context(
            messages=messages,
            report=window.report(always, estimate(told) if told else 0),
            uncorrected_tokens=_uncorrected((*question.always, *messages), figures),
            omitted=Omitted(
                summary=summary,
                messages=window.omitted_messages - (summary.covers_messages if summary else 0),
                before=window.begins_at or tail.head + 1,
            ),
        )

    async def _read_window(
        self,
        history: ChatMessageHistory,
        tail: Tail,
        room: Budget,
        estimate: Estimate,
        question: Message,
    ) -> tuple[Sequence[Turn], ContextWindow]:
        """The window, and the turns that were read for it.

        Those whose tool calls are broken are passed over, but not without end: a session of nothing
        else would be read to its beginning at every turn.
        """
        turns, whole = list(tail.turns), tail.whole
        limit = min(max(1, room.messages // 2), _MOST_TURNS_A_READ)
        most = room.messages + _MOST_TURNS_PASSED_OVER
        while not (window := fit(turns, room, estimate, question)).full and not whole:
            if len(turns) >= most:
                break
            older = await history.page(
                {TurnStatus.COMPLETED}, limit=limit, newest_first=True, after=turns[-1].sequence
            )
            turns += older
            whole = len(older) < limit
        return turns, window

    def _messages(self, policy: ContextPolicy) -> int:
        return self._max_messages if policy.max_messages is None else policy.max_messages

    def _summary_room(self, budget: Budget, room: Budget) -> int:
        share = int(budget.tokens * _SUMMARY_SHARE)
        return max(0, min(self._summary_max_tokens, share, room.tokens))


def _uncorrected(messages: Sequence[Message], figures: ModelFigures) -> int | None:
    if any(message.parts for message in messages):
        return None
    return size_of_all(messages, estimate_by(figures, ratio=1.0))


def estimate_by(figures: ModelFigures, ratio: float) -> Estimate:
    """A model's estimate of a message: by its figures, times its correction, rounded up."""

    text_tokens = attrgetter(figures.vocabulary.value)

    def estimate(message: Message) -> int:
        counts = message.tokens or count(message)
        # Forty times a turn: straight to the figure that nearly every message has alone.
        tokens = figures.tokens(counts) if counts.images else text_tokens(counts)
        return math.ceil(tokens * ratio) or 1

    return estimate
