"""An address and a port."""

from tcpcryptd.control.address import Address as Endpoint

__all__ = ["Endpoint"]
