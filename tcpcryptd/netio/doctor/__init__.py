"""The checks of `tcpcryptd doctor`: what is there, what is missing, and what to do about it."""

from tcpcryptd.netio.doctor.checks import examine
from tcpcryptd.netio.doctor.finding import Finding, Severity
from tcpcryptd.netio.doctor.self_test import SelfTest

__all__ = ["Finding", "SelfTest", "Severity", "examine"]
