"""The window that a kernel is shown whose packets were too large."""

import pytest

from tcpcryptd.eno.stream.aperture import IN_FLIGHT, LONGEST, ROOM, SAMPLES, Aperture

SCALE = 7
WIDE = 30_000


def round_trips(aperture: Aperture, times: list[float]) -> int:
    """What is shown after as many packets, each acknowledged so much later."""
    now, end, shown = 0.0, 0, 0
    for time in times:
        end += ROOM
        aperture.sent(end, now)
        # It is sent again, which says nothing of the round trip.
        aperture.sent(end, now + time * 0.9)
        now += time
        shown = aperture.shown(WIDE, end, end, now)
    return shown


def test_no_packet_has_room_that_is_too_large() -> None:
    aperture = Aperture(SCALE)
    assert aperture.shown(WIDE, 7, 7, 0.0) == ROOM >> SCALE
    assert aperture.shown(WIDE, 7, 50_007, 0.0) == 50_000 + ROOM >> SCALE
    assert aperture.shown(3, 7, 50_007, 0.0) == 3
    assert aperture.shown(0, 7, 50_007, 0.0) == 0


def test_there_is_more_when_that_was_sent() -> None:
    aperture = Aperture(0)
    assert aperture.shown(10 * ROOM, 0, 0, 0.0) == ROOM
    assert aperture.sent(ROOM // 2, 0.0) is None
    assert aperture.sent(ROOM, 0.0) == 2 * ROOM
    assert aperture.sent(ROOM, 0.0) is None
    # No more than that is in flight.
    assert aperture.sent(IN_FLIGHT, 0.0) is None
    assert aperture.shown(10 * ROOM, ROOM, IN_FLIGHT, 0.0) == IN_FLIGHT


def test_there_is_no_more_than_the_peer_allows() -> None:
    aperture = Aperture(0)
    assert aperture.shown(ROOM + 9, 0, 0, 0.0) == ROOM
    assert aperture.sent(ROOM, 0.0) == ROOM + 9
    assert aperture.sent(ROOM + 9, 0.0) is None


@pytest.mark.parametrize("scale", [0, 7, 14])
def test_it_is_never_closed(scale: int) -> None:
    assert Aperture(scale).shown(1, 0, 0, 0.0) == 1


@pytest.mark.parametrize(
    ("times", "narrow"),
    [
        ([LONGEST / 2] * SAMPLES, True),
        ([LONGEST * 2] * (SAMPLES - 1), True),
        ([LONGEST * 2] * SAMPLES, False),
        ([LONGEST * 2] * (SAMPLES - 1) + [LONGEST / 2] + [LONGEST * 2] * SAMPLES, True),
    ],
)
def test_a_long_round_trip_is_not_waited_for(times: list[float], narrow: bool) -> None:
    assert (round_trips(Aperture(SCALE), times) < WIDE) == narrow
