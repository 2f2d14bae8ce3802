import gc
import socket

from tcpcryptd.netio.workers.fork_server import ForkServer


def test_no_collection_in_a_worker_touches_what_was_there_before_it() -> None:
    def tell(_index: int, end: socket.socket) -> None:
        end.send(str(gc.get_freeze_count()).encode())

    assert gc.get_freeze_count() == 0
    fork_server = ForkServer(lambda: None, tell)
    try:
        ours = fork_server.spawn(0)
        assert ours is not None
        with ours:
            ours.settimeout(60)
            assert int(ours.recv(100)) > 1000
    finally:
        fork_server.close()
