"""What every client's tour must do, whatever it is written in.

A test class of a language inherits it, says how its tour is started, and reads what that prints.
"""

from collections.abc import Mapping
from typing import ClassVar

from tests.interop.printed import Printed
from tests.interop.tour import ADDED, BEFORE, CANCEL, CHAT, STREAM, Tour, reply_to
from tests.kit.openai_faults import Fault
from tests.rpc.session import SYSTEM, texts
from turnkeep.v1 import conversation_pb2 as pb

FIRST = [("user", CHAT), ("assistant", reply_to(CHAT))]
SECOND = [("user", STREAM), ("assistant", reply_to(STREAM))]
LAST = [(role.lower(), text) for role, text in ADDED]


class TourContract:
    """Chat, StreamChat, AddMessages, ListMessages, ClearSession, an error, a cancel."""

    env: ClassVar[Mapping[str, str]] = {}
    reflection: ClassVar[bool] = False
    """Whether the server answers reflection; without it a client has the proto alone."""
    faults: ClassVar[list[Fault]] = []
    """How the model's first calls fail."""

    def command(self) -> list[str]:
        """The tour's program, without address and session. Skips where it cannot be had."""
        raise NotImplementedError

    def read(self, output: str) -> Printed:
        """What the tour printed."""
        raise NotImplementedError

    def test_it_ends_well(self, tour: Tour) -> None:
        assert tour.exit_code == 0, tour.output

    def test_clearing_forgets_what_another_client_stored(
        self, tour: Tour, printed: Printed
    ) -> None:
        """What was there before is in no model's input and in no listing."""
        assert printed.cleared == len(BEFORE)
        forgotten = {each.text for each in BEFORE}
        assert not forgotten & {each.text for each in tour.stored}
        assert tour.call(CHAT).input == [SYSTEM, ("user", CHAT)]

    def test_texts_of_every_script_come_through_both_ways(
        self, tour: Tour, printed: Printed
    ) -> None:
        completed = [each for each in tour.stored if each.status == pb.TURN_STATUS_COMPLETED]
        assert texts(completed) == [*FIRST, *SECOND, *LAST]
        assert (printed.answer, printed.streamed) == (reply_to(CHAT), reply_to(STREAM))

    def test_a_stream_is_shown_as_it_comes(self, tour: Tour, printed: Printed) -> None:
        """And its end names the turn that is stored by then."""
        assert tour.streamed_live
        (sequence,) = {each.sequence for each in tour.stored if each.text == STREAM}
        assert printed.stored_sequence == sequence

    def test_each_turn_saw_the_turns_before_it(self, tour: Tour) -> None:
        assert tour.call(STREAM).input == [SYSTEM, *FIRST, ("user", STREAM)]
        assert tour.call(CANCEL).input == [SYSTEM, *FIRST, *SECOND, ("user", CANCEL)]

    def test_an_errors_reason_and_domain_are_read(self, printed: Printed) -> None:
        assert printed.error == ("UNKNOWN_PROMPT", "turnkeep.v1")

    def test_a_cancel_ends_the_models_call(self, tour: Tour) -> None:
        call = tour.call(CANCEL)
        assert call.closed_at is not None
        assert not call.finished

    def test_a_cancelled_turn_keeps_the_text_so_far(self, tour: Tour, printed: Printed) -> None:
        """At least what the tour had shown by then, and not all that the model would have said."""
        cancelled = [each for each in tour.stored if each.status == pb.TURN_STATUS_CANCELLED]
        (question, reply) = texts(cancelled)
        assert question == ("user", CANCEL)
        assert printed.cancelled
        assert reply[1].startswith(printed.cancelled)
        assert len(reply[1]) < len(reply_to(CANCEL))

    def test_appended_messages_are_one_turn_behind_the_cancelled_one(
        self, tour: Tour, printed: Printed
    ) -> None:
        assert [each.sequence for each in tour.stored[-2:]] == [printed.added_sequence] * 2
        (cancelled,) = {each.sequence for each in tour.stored if each.text == CANCEL}
        assert printed.added_sequence == cancelled + 1

    def test_it_lists_what_is_stored(self, tour: Tour, printed: Printed) -> None:
        """Every message with its status, the cancelled turn's too."""
        assert printed.listed == [
            (
                pb.TurnStatus.Name(each.status).removeprefix("TURN_STATUS_"),
                pb.Role.Name(each.role).removeprefix("ROLE_"),
                each.text,
            )
            for each in tour.stored
        ]


class RetryingTourContract(TourContract):
    """Clients that send a request again by themselves when the answer is UNAVAILABLE."""

    # To its caller an UNAVAILABLE that the server does not try again itself.
    faults: ClassVar[list[Fault]] = [Fault.UNAUTHORIZED]

    def test_an_unavailable_answer_is_asked_for_again(self, tour: Tour) -> None:
        """The attempt that failed is kept as such; the one after it is the turn."""
        failed = [each for each in tour.stored if each.status == pb.TURN_STATUS_FAILED]
        assert texts(failed) == [("user", CHAT)]
        assert [each.input[-1][1] for each in tour.calls] == [CHAT, CHAT, STREAM, CANCEL]


class ReplayingTourContract(TourContract):
    """Scripts that send a request twice, to show what a request_id is for."""

    def test_the_same_request_id_is_one_turn(self, tour: Tour) -> None:
        assert [each.input[-1][1] for each in tour.calls] == [CHAT, STREAM, CANCEL]
