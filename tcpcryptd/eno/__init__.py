"""TCP-ENO (RFC 8547) with tcpcrypt (RFC 8548): negotiation in TCP options, the stream carried in encryption frames."""

from tcpcryptd.eno.config import EnoConfig, algorithm_names
from tcpcryptd.eno.factory import EnoFactory

__all__ = ["EnoConfig", "EnoFactory", "algorithm_names"]
