"""End-to-end tests: daemons, applications and captures in network namespaces. They need root."""
