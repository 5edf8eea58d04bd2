"""A primary and its standby, which change places when the primary is killed, and a queue that is in them."""

import time
from contextlib import ExitStack
from typing import Self

from tests.support.link import Link
from tests.support.postgres import replication
from tests.support.postgres.keeper import OWNER, make_owner
from tests.support.postgres.server import PASSWORD, Server
from tests.support.postgres.servers import Servers


class Pair:
    """Two servers on loopback. Each follows the other by a link that can be cut."""

    def __init__(self, servers: Servers, *, synchronous: bool = True) -> None:
        """`synchronous`: a commit waits for the standby."""
        self._stack = ExitStack()
        self._synchronous = synchronous
        self.primary = servers.create({**replication.DURABLE, **replication.REWINDABLE})
        self.standby = servers.plan()
        self.primary.start()
        make_owner(self.primary.address)
        self._links = {self.primary: self._link(self.primary)}
        replication.follow(self.standby, self.primary, "standby", self._links[self.primary].port)
        self._links[self.standby] = self._link(self.standby)
        self._wait_for_standby()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """It names both, and leads to the one that takes writes: the first, as it is now."""
        hosts = ",".join(f"{each.address.host}:{each.address.port}" for each in (self.primary, self.standby))
        return f"postgresql://{OWNER}:{PASSWORD}@{hosts}/{OWNER}?target_session_attrs=read-write"

    def cut(self) -> None:
        """From now on the standby hears nothing of the primary: what waits for it waits."""
        self._links[self.primary].cut()

    def heal(self) -> None:
        """Have the standby catch up."""
        self._links[self.primary].heal()

    def fail_over(self) -> float:
        """Kill the primary and promote the standby, which waits for none; returns when it takes writes.

        The moment at which it was asked to, by the monotonic clock.
        """
        self.primary.kill()
        self.primary, self.standby = self.standby, self.primary
        asked = time.monotonic()
        replication.promote(self.primary)
        return asked

    def rejoin(self) -> None:
        """Have the primary that was killed follow the one that was promoted."""
        self._links[self.standby].heal()
        replication.rewind(self.standby, self.primary, "standby", self._links[self.primary].port)
        self._wait_for_standby()

    def _link(self, server: Server) -> Link:
        return self._stack.enter_context(Link(server.address.host, server.address.port))

    def _wait_for_standby(self) -> None:
        if self._synchronous:
            replication.wait_for(self.primary, "standby")
