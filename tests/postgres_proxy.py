"""Stands between a run and its database, and breaks the connection around a COMMIT."""

import asyncio
from contextlib import asynccontextmanager

COMMIT = b"COMMIT"


class Proxy:
    """Passes bytes on; `lose` says what becomes of the next COMMIT."""

    def __init__(self, port):
        self._target = port
        self._lose = None
        self._cut_off = None
        """To whom an answer is lost."""
        self.lost = asyncio.Event()
        self.is_shut = False
        """Whether nobody is let in."""

    def lose(self, what):
        """Lose the next COMMIT itself ("request"), or the answer to it ("answer")."""
        self._lose, self.lost = what, asyncio.Event()

    async def serve(self, reader, writer):
        if self.is_shut:
            writer.close()
            return
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._up(reader, to_server, writer))
                group.create_task(self._down(from_server, writer))
        except* OSError:
            pass
        finally:
            for each in (writer, to_server):
                each.close()

    async def _up(self, reader, to_server, writer):
        while data := await reader.read(65536):
            if self._lose and COMMIT in data:
                what, self._lose = self._lose, None
                if what == "answer":
                    self._cut_off = writer
                    to_server.write(data)
                    return
                writer.close()
                self.lost.set()
                break
            to_server.write(data)
        to_server.close()

    async def _down(self, from_server, writer):
        while data := await from_server.read(65536):
            if writer is self._cut_off:
                break  # the server has answered, so it is done there
            writer.write(data)
        if writer is self._cut_off:
            self.lost.set()
        writer.close()


@asynccontextmanager
async def running(port):
    """Have a proxy before the server at this port; its own is `proxy.port`."""
    proxy = Proxy(port)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy
