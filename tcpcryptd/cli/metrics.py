"""The daemon's counters as Prometheus reads them (text exposition format 0.0.4)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tcpcryptd.core.peer_identity import Outcome

_NANOSECONDS = 1e-9
_PREFIX = "tcpcryptd_"
_CLASSES = ("undecided", "encrypted", "stream")

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `samples` has the labels of each value and the counter it is read from (`Daemon.counters`)."""

    name: str
    help: str
    samples: Mapping[Labels, str]
    is_gauge: bool = False
    factor: float | None = None
    """From the counter's unit to the metric's; None: the counter as it is."""


def _single(name: str, text: str, counter: str, is_gauge: bool = False) -> Metric:
    return Metric(name, text, {(): counter}, is_gauge)


def _by(label: str, counters: Mapping[str, str]) -> Mapping[Labels, str]:
    return {((label, value),): counter for value, counter in counters.items()}


METRICS: Final = (
    _single("uptime_seconds", "Time since the daemon was started.", "uptime_seconds", is_gauge=True),
    _single("workers", "Processes that handle packets.", "workers", is_gauge=True),
    _single(
        "compiled",
        "Whether the packet path is compiled: 1, or 0 if it is interpreted.",
        "compiled",
        is_gauge=True,
    ),
    _single("worker_restarts_total", "How often a worker died and was replaced.", "worker_restarts"),
    _single("connections", "Connections in the flow table: in a handshake, encrypted or closed.", "connections", True),
    _single("encrypted_connections", "Connections that are encrypted now.", "encrypted", is_gauge=True),
    _single("closed_connections", "Connections that are over; late segments may still come.", "closed", is_gauge=True),
    _single("resumable_sessions", "Sessions that could be resumed.", "sessions", is_gauge=True),
    Metric(
        "handshakes_total",
        "Handshakes by their outcome; refused: a required connection could not be encrypted.",
        _by(
            "outcome",
            {"encrypted": "negotiated", "plain": "plain", "refused": "refused", "evicted": "opening_evicted"},
        ),
    ),
    Metric(
        "post_quantum_total",
        "Encrypted connections, by whether their key agreement is post-quantum: agreed, or why not.",
        _by(
            "outcome",
            {"agreed": "post_quantum"}
            | {reason: f"classical_{reason}" for reason in ("peer", "setting", "size", "loss", "resumed")},
        ),
    ),
    Metric(
        "identities_total",
        "Connections whose peer's identity was checked, by the result; changed, revoked, forged: refused.",
        _by("outcome", {outcome.value: f"identity_{outcome.value}" for outcome in Outcome}),
    ),
    _single(
        "deferred_openings_total",
        "SYN segments that were dropped under overload; they are sent again.",
        "openings_deferred",
    ),
    Metric(
        "black_holes",
        "Hosts, and whole local networks, to which nothing is offered because SYNs with the option got no answer.",
        _by("scope", {"host": "black_hole_hosts", "network": "black_hole_networks"}),
        is_gauge=True,
    ),
    Metric(
        "offers_total",
        "Connections whose SYNs with the option got no answer, and connections that were offered nothing for it.",
        _by("outcome", {"swallowed": "offers_swallowed", "withheld": "offers_withheld"}),
    ),
    Metric(
        "full_table_total",
        "New connections that found the flow table full, by what made room: closed, a connection that was over.",
        _by("room", {"closed": "closed_evicted", "none": "table_full"}),
    ),
    Metric(
        "protocol_errors_total",
        "Wrong or missing messages of peers that ended or delayed a handshake or a connection.",
        _by(
            "reason",
            {
                name: name
                for name in (
                    *("bad_init1", "bad_init2", "init1_unanswered", "init2_unanswered", "init2_lost"),
                    *("no_common_cipher", "no_space_for_eno", "damaged", "invalid", "truncated", "keys_not_replaced"),
                )
            },
        ),
    ),
    Metric(
        "segments_total",
        "Packets from the kernel, of up to 64 KiB where the class is stream.",
        _by("class", {each: f"{each}_packets" for each in _CLASSES}),
    ),
    Metric(
        "segment_seconds_total",
        "Time spent on these packets; divided by segments_total, the time for each.",
        _by("class", {each: f"{each}_nanoseconds" for each in _CLASSES}),
        factor=_NANOSECONDS,
    ),
    Metric(
        "busy_poll_seconds_total",
        "Time spent looking for the next packet awake (--busy-poll).",
        {(): "busy_poll_nanoseconds"},
        factor=_NANOSECONDS,
    ),
    Metric(
        "bytes_total",
        "Bytes of these packets with their headers, as they came from the kernel.",
        {
            (("class", each), ("direction", direction)): f"{each}_bytes_{direction}"
            for each in _CLASSES
            for direction in ("in", "out")
        },
    ),
    Metric(
        "dropped_segments_total",
        "Segments that the daemon dropped.",
        _by(
            "reason",
            {
                "not_authentic": "integrity_failures",
                "orphaned": "orphaned_segments",
                "refused": "refused_segments",
            }
            | {
                name: name
                for name in (
                    *("bad_acknowledgment", "bad_checksum", "fragments", "held_back"),
                    *("keys_forgotten", "keys_spent", "stray", "too_long"),
                )
            },
        ),
    ),
    Metric(
        "icmp_errors_total",
        "ICMP errors about encrypted connections.",
        _by("outcome", {"translated": "icmp_errors_translated", "refused": "icmp_errors_refused"}),
    ),
    _single("queue_dropped_total", "Packets that the kernel dropped because a queue was full.", "queue_dropped"),
    Metric(
        "queue_errors_total",
        "Packets that came cut, raised an exception, or whose verdict the kernel refused.",
        _by(
            "reason",
            {"truncated": "queue_truncated", "exception": "queue_exceptions", "verdict": "queue_verdict_errors"},
        ),
    ),
    _single(
        "oversize_packets_total",
        "Packets that were too large for a queue and came in segments instead.",
        "queue_oversize",
    ),
    _single(
        "outgrown_connections_total",
        "Connections of which this host's kernel sent such a packet.",
        "outgrown",
    ),
    _single("merged_segments_total", "Segments that went up in the packet of a later one.", "queue_merged"),
    _single("injected_packets_total", "Packets that the daemon made itself.", "injected"),
    _single("injection_errors_total", "Packets of the daemon's own that could not be sent.", "injection_errors"),
    _single("cut_segments_total", "Segments that whole packets were cut into and that were sent.", "segments_sent"),
    _single("cut_segment_errors_total", "Such segments that could not be sent.", "segment_errors"),
    _single("rekeyings_total", "How often the keys of a connection were replaced.", "rekeyed"),
    Metric(
        "firewall",
        "Which firewall has the rules: 1; none with --no-firewall.",
        _by("name", {name: f"rules_of_{name}" for name in ("nft", "iptables")}),
        is_gauge=True,
    ),
    _single("rules_repaired_total", "How often somebody changed the firewall rules.", "rules_repaired"),
    _single("rules_not_repaired_total", "Failures to put the firewall rules back.", "rules_not_repaired"),
    _single("offload_held_total", "Forwarded connections that were kept out of flowtables.", "offload_held"),
    _single("offload_errors_total", "Packets dropped because that failed.", "offload_errors"),
    _single("memory_shortages_total", "How often memory ran out.", "memory_shortages"),
    _single("internal_errors_total", "Bugs met; please report them with the log.", "internal_errors"),
)

_SUMS = tuple(f"queue_{name}" for name in ("packets", "bytes_in", "bytes_out", "nanoseconds"))
"""Are there by class."""
_NAMED = frozenset(counter for metric in METRICS for counter in metric.samples.values()) | frozenset(_SUMS)


def as_prometheus(counters: Mapping[str, int]) -> str:
    """The whole page. A counter that is not there is 0; one that no metric names becomes a label of events_total."""
    others = {name: name for name in sorted(counters.keys() - _NAMED)}
    events = Metric("events_total", "All other counters, by their own names.", _by("event", others))
    metrics = (*METRICS, events) if others else METRICS
    return "".join(line for metric in metrics for line in _lines(metric, counters))


def _lines(metric: Metric, counters: Mapping[str, int]) -> Iterator[str]:
    name = f"{_PREFIX}{metric.name}"
    yield f"# HELP {name} {metric.help}\n"
    yield f"# TYPE {name} {'gauge' if metric.is_gauge else 'counter'}\n"
    for labels, counter in metric.samples.items():
        count = counters.get(counter, 0)
        value = str(count) if metric.factor is None else f"{count * metric.factor:.9f}"
        yield f"{name}{_written(labels)} {value}\n"


def _written(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
