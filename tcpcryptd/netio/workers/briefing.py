"""What a worker must know before it sees a packet, when it takes the place of one that died among others."""

from collections.abc import Iterator

from tcpcryptd.core.limits import MAX_OPTIONS
from tcpcryptd.core.options import OptionRegistry
from tcpcryptd.netio.workers.channel import Json
from tcpcryptd.netio.workers.records import encode_options


class Briefing:
    """Kept by the daemon, which changes it together with the workers that run."""

    def __init__(self) -> None:
        self.options = OptionRegistry(MAX_OPTIONS)
        """Applications' wishes for local ends, as each worker's engine has them."""
        self.settings: Json = None
        """Those that were changed while the daemon ran; see `SharedEngine.adjust`."""

    def requests(self) -> Iterator[tuple[str, list[Json]]]:
        """Names and arguments."""
        if self.settings is not None:
            yield "adjust", [self.settings]
        for local in self.options.endpoints():
            yield "set_options", [encode_options(self.options.get(local)), local, None]
