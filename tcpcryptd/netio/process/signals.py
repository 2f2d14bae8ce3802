"""Signals that end the event loop, or have it do something between two turns.

Python runs handlers of signals between the steps of interpreted code only, so this module must not be compiled: the
signal's number wakes the loop, and taking it from the socket is such a step.
"""

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

from tcpcryptd.netio.loop import EventLoop

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def watch_signals(loop: EventLoop, on_hangup: Callable[[], None] | None = None) -> Iterator[None]:
    """Meanwhile SIGINT and SIGTERM end the loop's `run`, now or when it is called. Main thread only.

    `run` calls `on_hangup` between two turns after SIGHUP, which is ignored when there is none.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        loop.stop()

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        loop.hang_up()

    loop.handle_hangups(on_hangup)
    receiver, sender = socket.socketpair()
    receiver.setblocking(False)
    sender.setblocking(False)
    wake_up = _WakeUp(receiver)
    old_handlers = {number: signal.signal(number, stop) for number in _STOP_SIGNALS}
    old_handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN if on_hangup is None else hang_up)
    old_descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    loop.add(wake_up)
    try:
        yield
    finally:
        signal.set_wakeup_fd(old_descriptor)
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
        loop.remove(wake_up)
        receiver.close()
        sender.close()


class _WakeUp:
    """What Python writes the numbers of signals to: all they have to do is end the wait."""

    def __init__(self, receiver: socket.socket) -> None:
        self._receiver = receiver

    def fileno(self) -> int:
        return self._receiver.fileno()

    def handle_ready(self) -> None:
        self._receiver.recv(4096)
