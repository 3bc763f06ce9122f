"""examples/shell/grpcurl.sh: by the server's reflection, and with the protos alone."""

import os
from typing import ClassVar

from tests.interop.clients import EXAMPLES, GRPCURL, require
from tests.interop.contract import ReplayingTourContract
from tests.interop.printed import Printed, documents


class TestGrpcurl(ReplayingTourContract):
    env: ClassVar = {"PATH": f"{GRPCURL.parent}:{os.environ['PATH']}"}
    reflection = True

    def command(self) -> list[str]:
        require("go", GRPCURL)
        return [str(EXAMPLES / "shell" / "grpcurl.sh")]

    def read(self, output: str) -> Printed:
        return documents(output)


class TestGrpcurlWithProtos(TestGrpcurl):
    env: ClassVar = {**TestGrpcurl.env, "PROTOS": "1"}
    reflection = False
