"""An HTTP proxy that loses, tears, repeats and delays, by a seeded die: the network between worker and service."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType

MOODS: Mapping[str, int] = MappingProxyType(
    {
        "passes": 70,
        "is slow": 5,
        "is lost": 5,
        "reply is lost": 5,
        "comes twice": 5,
        "comes late": 5,
        "is torn": 5,
        "reply is torn": 3,
        "hangs": 2,
    }
)
"""What befalls a request, with its weight. Late: it arrives after its sender has given up and asked anew."""

SLOW_SECONDS = 0.1
LATE_SECONDS = 0.4
HANG_SECONDS = 1.0


class Lost(Exception):
    """The sender hears nothing more on this connection."""


class Proxy:
    """Listens on a free port of loopback for as long as `running` lasts."""

    def __init__(self, target_port: int, seed: int, moods: Mapping[str, int] = MOODS) -> None:
        self.url = ""
        self.fates: Counter[str] = Counter()
        self._target_port = target_port
        self._chance = random.Random(seed)
        self._moods = moods
        self._late: set[asyncio.Task[bytes]] = set()

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="proxy")
        thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), loop).result()
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._stop(server), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _stop(self, server: asyncio.Server) -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(Lost, ConnectionError, asyncio.IncompleteReadError):
            while request := await _read_message(reader):
                writer.write(await self._befall(request))
                await writer.drain()
        writer.transport.abort()

    async def _befall(self, request: bytes) -> bytes:
        mood = self._chance.choices(list(self._moods), list(self._moods.values()))[0]
        self.fates[mood] += 1
        if mood == "is lost":
            raise Lost
        if mood == "is torn":
            await self._forward(request[: len(request) // 2], is_torn=True)
        elif mood == "hangs":
            await asyncio.sleep(HANG_SECONDS)
            raise Lost
        elif mood == "comes late":
            task = asyncio.create_task(self._forward(request, seconds=LATE_SECONDS))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            raise Lost
        elif mood == "comes twice":
            await self._forward(request)
        reply = await self._forward(request, seconds=SLOW_SECONDS if mood == "is slow" else 0.0)
        if mood == "reply is lost":
            raise Lost
        return reply[: len(reply) // 2] if mood == "reply is torn" else reply

    async def _forward(self, request: bytes, *, seconds: float = 0.0, is_torn: bool = False) -> bytes:
        await asyncio.sleep(seconds)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except ConnectionError as error:
            raise Lost from error
        try:
            writer.write(request)
            await writer.drain()
            if is_torn:
                raise Lost
            return await _read_message(reader)
        finally:
            writer.transport.abort()


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP/1.1 request or response; empty when the peer has closed."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if b"content-length" in headers:
        return head + await reader.readexactly(int(headers[b"content-length"]))
    if headers.get(b"transfer-encoding") == b"chunked":
        return head + await reader.readuntil(b"0\r\n\r\n")
    return head
