"""Several processes that handle packets, each the share that the kernel's hash of two addresses gives it.

The daemon's own process handles none then. It has the rules, the control socket and the applications' options, and asks
its workers for what they know. They are forked by one more process without threads (`fork_server`), because the
daemon's own has some by the time that a worker must be replaced, and a fork takes along whatever locks threads hold.
"""
