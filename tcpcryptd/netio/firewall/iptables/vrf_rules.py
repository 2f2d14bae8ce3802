"""What is different about the rules where there are VRF devices (Documentation/networking/vrf.rst).

Packets of a VRF's interface pass PREROUTING and OUTPUT twice: for that interface, and for the VRF device, on the way in
behind it and on the way out before it. They are diverted for the interface alone: what is queued for the device on its
way in is lost, since the kernel does not wait for a verdict there. The addresses of a VRF are not in the main table,
but a look-up by the interface finds them.
"""

NOT_LOCAL = "-m addrtype ! --dst-type LOCAL"
_NOT_OF_INTERFACE = f"{NOT_LOCAL} --limit-iface-in"


def beside_vrfs(chains: dict[str, list[str]], vrfs: tuple[str, ...], passes: dict[str, str]) -> dict[str, list[str]]:
    """The chains for a host with these VRF devices; the same without any.

    `passes`: by the chains that hooks lead to, the option that names a packet's interface.
    """
    if not vrfs:
        return chains
    skipped = {chain: [f"{option} {name} -j RETURN" for name in vrfs] for chain, option in passes.items()}
    return {
        chain: skipped.get(chain, []) + [rule.replace(NOT_LOCAL, f"{NOT_LOCAL} {_NOT_OF_INTERFACE}") for rule in rules]
        for chain, rules in chains.items()
    }
