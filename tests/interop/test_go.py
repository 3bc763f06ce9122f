"""examples/go: grpc-go, with stubs made from the proto alone."""

from tests.interop.clients import GO_TOUR, require
from tests.interop.contract import RetryingTourContract
from tests.interop.printed import Printed, lines


class TestGo(RetryingTourContract):
    def command(self) -> list[str]:
        require("go", GO_TOUR)
        return [str(GO_TOUR)]

    def read(self, output: str) -> Printed:
        return lines(output)
