"""The window that a kernel is shown whose packets were too large."""

import pytest

from tcpcryptd.eno.aperture import LONGEST, ROOM, SAMPLES, Aperture

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
        shown = aperture.narrowed(WIDE, 0, end, now)
    return shown


def test_no_packet_has_room_that_is_too_large() -> None:
    aperture = Aperture(SCALE)
    assert aperture.narrowed(WIDE, 0, 0, 0.0) == ROOM >> SCALE
    assert aperture.narrowed(WIDE, 50_000, 0, 0.0) == 50_000 + ROOM >> SCALE
    assert aperture.narrowed(3, 50_000, 0, 0.0) == 3
    assert aperture.narrowed(0, 50_000, 0, 0.0) == 0


@pytest.mark.parametrize("scale", [0, 7, 14])
def test_it_is_never_closed(scale: int) -> None:
    assert Aperture(scale).narrowed(1, 0, 0, 0.0) == 1


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
