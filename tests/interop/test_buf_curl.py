"""examples/shell/buf_curl.sh: by the server's reflection, and with the protos alone."""

import os
import sys
from pathlib import Path
from typing import ClassVar

from tests.interop.clients import EXAMPLES
from tests.interop.contract import ReplayingTourContract
from tests.interop.printed import Printed, documents


class TestBufCurl(ReplayingTourContract):
    # buf comes with the environment that the tests run in.
    env: ClassVar = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    reflection = True

    def command(self) -> list[str]:
        return [str(EXAMPLES / "shell" / "buf_curl.sh")]

    def read(self, output: str) -> Printed:
        return documents(output)


class TestBufCurlWithProtos(TestBufCurl):
    env: ClassVar = {**TestBufCurl.env, "PROTOS": "1"}
    reflection = False
