"""The rules that divert TCP to the daemon: one interface (`backend`), and two implementations: `iptables` and `nft`."""
