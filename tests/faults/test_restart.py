"""The server and its embedded mongod, killed: the conversation goes on."""

import asyncio
import os
import signal
import stat
from pathlib import Path

from tests.faults.processes import mongods_of, no_mongod_of, refused_start
from tests.faults.service import Caller, environment, texts
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess

LONGEST_SOCKET_PATH = 108


async def test_a_conversation_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with OpenAIStub() as model:
        env = environment(f"local://{folder}", model)
        async with ServerProcess(env) as server:
            await Caller(server).chat("42", "Привет! Меня зовут Виктор")
            await Caller(server).chat("42", "Как дела? 👋")
            server.kill()
            await no_mongod_of(folder, timeout_seconds=8)
        async with ServerProcess(env) as server:
            answer = await Caller(server).chat("42", "Как меня зовут?")

    assert answer.sequence == 3
    assert model.inputs[2][1:] == [
        ("user", "Привет! Меня зовут Виктор"),
        ("assistant", "reply to: Привет! Меня зовут Виктор"),
        ("user", "Как дела? 👋"),
        ("assistant", "reply to: Как дела? 👋"),
        ("user", "Как меня зовут?"),
    ]


async def test_a_killed_mongod_comes_back_by_itself_and_nothing_acknowledged_is_lost(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    async with OpenAIStub() as model:
        async with ServerProcess(environment(f"local://{folder}", model)) as server:
            caller = Caller(server)
            acknowledged = []

            async def converse() -> None:
                for n in range(30):
                    answer = await caller.chat("42", f"question {n}", request_id=f"r-{n}")
                    acknowledged.append((answer.sequence, answer.message.text))

            talking = asyncio.create_task(converse())
            await model.arrived(10)
            (killed,) = mongods_of(folder)
            os.kill(killed, signal.SIGKILL)
            await talking
            await caller.health_becomes("SERVING")
            (again,) = mongods_of(folder)
            assert again != killed
            assert texts(await caller.messages("42"))[1::2] == acknowledged
            assert len(acknowledged) == 30

            server.terminate()
            assert await server.wait() == 0
        assert mongods_of(folder) == []


async def test_a_folder_that_was_moved_keeps_its_data_however_deep_it_lies(tmp_path: Path) -> None:
    shallow, deep = tmp_path / "data", tmp_path.joinpath(*["deep" * 10] * 4, "data")
    async with OpenAIStub() as model:
        async with ServerProcess(environment(f"local://{shallow}", model)) as server:
            await Caller(server).chat("42", "here")
            assert _mode(shallow / "run") == 0o700
            server.terminate()
            assert await server.wait() == 0
        deep.parent.mkdir(parents=True)
        shallow.rename(deep)
        assert len(str(deep)) > LONGEST_SOCKET_PATH
        async with ServerProcess(environment(f"local://{deep}", model)) as server:
            await Caller(server).chat("42", "there")
            assert _mode(_socket_of(*mongods_of(deep)).parent) == 0o700
            assert texts(await Caller(server).messages("42")) == [
                *((1, "here"), (1, "reply to: here")),
                *((2, "there"), (2, "reply to: there")),
            ]


async def test_a_second_server_on_a_folder_is_refused_and_told_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with OpenAIStub() as model:
        env = environment(f"local://{folder}", model)
        async with ServerProcess(env) as server:
            log = await refused_start(env)
            assert f"another server uses {folder}" in log
            assert "TURNKEEP_HISTORY_URL" in log
            assert "Traceback" not in log
            assert (await Caller(server).chat("42", "still here?")).sequence == 1


async def test_a_folder_that_cannot_be_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    impossible = tmp_path / "file" / "data"
    async with OpenAIStub() as model:
        log = await refused_start(environment(f"local://{impossible}", model))
    assert f"cannot write to {impossible}" in log
    assert "TURNKEEP_HISTORY_URL" in log
    assert "Traceback" not in log


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _socket_of(pid: int) -> Path:
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return Path(words[words.index("--bind_ip") + 1])
