"""What a worker must know before it sees a packet, when it takes the place of one that died among others."""

from tcpcryptd.core.limits import MAX_OPTIONS
from tcpcryptd.core.options import OptionRegistry
from tcpcryptd.netio.workers.channel import Json


class WorkerState:
    """Kept by the daemon, which changes it together with the workers that run."""

    def __init__(self) -> None:
        self.options = OptionRegistry(MAX_OPTIONS)
        """Applications' options for local ends, as each worker's engine has them."""
        self.settings: Json = None
        """Those that were changed while the daemon ran; see `SharedEngine.adjust`."""
