"""A member of its own process, to be paused and killed. Prints its port; ends when its standard input does."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from taskfan.node.clock import SystemClock
from taskfan.node.transport import Answered, InboundLink, Request
from taskfan.node.waiting import tell
from tests.node.transport.world import CLUSTER, SOCKET_TRANSPORTS, SocketTransport, a_node


class _Peer:
    """Answers by its payload, or asks the member at the address that is the payload."""

    def __init__(self, transport: SocketTransport) -> None:
        self._transport = transport

    def receive(self, request: Request, _link: InboundLink, answered: Answered) -> None:
        self._transport.clock.begin(tell(partial(self._answer, request), answered, request.action), request.action)

    async def _answer(self, request: Request) -> bytes:
        if request.action == "never":
            await asyncio.Event().wait()
        if request.action == "ask":
            return await self._transport.send(a_node("a", request.payload.decode(), ""), Request("asked", b""))
        return request.payload


async def main(port: int) -> None:
    transport = SOCKET_TRANSPORTS[sys.argv[3]]("peer-id", sys.argv[2], CLUSTER, SystemClock())
    print(transport.bind("127.0.0.1", port), flush=True)
    await transport.start(_Peer(transport))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await transport.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
