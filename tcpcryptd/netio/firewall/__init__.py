"""The rules that divert TCP to the daemon: one interface (`backend`), and who speaks it: `iptables` and `nft`."""
