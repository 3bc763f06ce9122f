"""examples/node: grpc-js, with a client made from the proto alone."""

from tests.interop.clients import EXAMPLES, NODE_MODULES, require
from tests.interop.contract import RetryingTourContract
from tests.interop.printed import Printed, lines


class TestNode(RetryingTourContract):
    def command(self) -> list[str]:
        require("npm", NODE_MODULES)
        return ["node", str(EXAMPLES / "node" / "tour.js")]

    def read(self, output: str) -> Printed:
        return lines(output)
