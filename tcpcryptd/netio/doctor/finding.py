"""What a check found."""

import enum
from dataclasses import dataclass

AS_ROOT = "run it as root, outside of a container"
"""The advice where something is not allowed."""


class Severity(enum.IntEnum):
    """The worst of all findings is the exit code of `tcpcryptd doctor`."""

    OK = 0
    WARNING = 1
    """tcpcryptd works, but not as well as it could."""
    PROBLEM = 2
    """tcpcryptd does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line; `advice` says what to do where it is not ok."""

    subject: str
    severity: Severity
    text: str
    advice: str = ""

    @classmethod
    def ok(cls, subject: str, text: str) -> "Finding":
        """All is well."""
        return cls(subject, Severity.OK, text)

    @classmethod
    def warning(cls, subject: str, text: str, advice: str) -> "Finding":
        """It could be better."""
        return cls(subject, Severity.WARNING, text, advice)

    @classmethod
    def problem(cls, subject: str, text: str, advice: str) -> "Finding":
        """It does not work."""
        return cls(subject, Severity.PROBLEM, text, advice)
