"""A relay before a server on this machine, as if that were far away: what it is asked arrives late.

    python distance.py PORT MILLISECONDS

Prints its own port, and ends when its input does. Requests overtake none, and wait side by side.
"""

from __future__ import annotations

import asyncio
import os
import sys


async def relay(port: int, delay: float) -> None:
    """Serve until the input ends."""
    loop = asyncio.get_running_loop()
    passing: set[asyncio.Task[None] | None] = set()  # the loop alone would let them be collected

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passing.add(asyncio.current_task())
        answers, server = await asyncio.open_connection("127.0.0.1", port)

        async def back() -> None:
            while data := await answers.read(1 << 18):
                writer.write(data)
            writer.close()

        returning = asyncio.create_task(back())
        try:
            while data := await reader.read(1 << 18):
                loop.call_later(delay, server.write, data)
        except OSError:
            pass
        loop.call_later(delay, server.close)
        await returning
        passing.discard(asyncio.current_task())

    serving = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=256)
    print(serving.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)  # Connections that are open need not be told.


if __name__ == "__main__":
    asyncio.run(relay(int(sys.argv[1]), int(sys.argv[2]) / 1000))
