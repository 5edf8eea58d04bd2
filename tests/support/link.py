"""A link between a host and a server that can be cut: TCP that is passed on, or not, by a thread of the test."""

import selectors
import socket
import threading
from contextlib import suppress
from typing import Self


class Link:
    """A port that leads to another one. While it is cut nothing arrives, nothing is refused, and nothing is closed."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: dict[socket.socket, socket.socket] = {}
        self._is_cut = threading.Event()
        self._wake, self._woken = socket.socketpair()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._wake.send(b"x")
        self._thread.join()
        for each in (self._listener, *self._peers, self._wake, self._woken):
            each.close()

    def cut(self) -> None:
        """Pass nothing on from now. What was sent waits, as for a retransmission."""
        self._is_cut.set()
        self._wake.send(b"x")

    def heal(self) -> None:
        """Pass on what has waited, and everything from now."""
        self._is_cut.clear()
        self._wake.send(b"x")

    def _run(self) -> None:
        while not self._is_over:
            with selectors.DefaultSelector() as selector:
                selector.register(self._woken, selectors.EVENT_READ)
                if not self._is_cut.is_set():
                    for each in (self._listener, *self._peers):
                        selector.register(each, selectors.EVENT_READ)
                ready = [key.fileobj for key, _ in selector.select()]
            for each in ready:
                assert isinstance(each, socket.socket)
                if each is self._woken:
                    each.recv(100)
                elif self._is_cut.is_set():
                    break
                elif each is self._listener:
                    self._accept()
                elif each in self._peers:
                    self._pass_on(each)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(self._target)
        except ConnectionRefusedError:
            near.close()
            return
        self._peers |= {near: far, far: near}

    def _pass_on(self, source: socket.socket) -> None:
        target = self._peers[source]
        data = b""
        with suppress(OSError):
            data = source.recv(1 << 16)
            target.sendall(data)
        if not data:
            for each in (source, target):
                del self._peers[each]
                each.close()
