"""The project's targets in chroots of Debian's suites: see docs/distributions.md."""
