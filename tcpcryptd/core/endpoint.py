"""An address and a port."""

from tcpcryptd.records.address import Address as Endpoint

__all__ = ["Endpoint"]
