from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fuzz import identity


def test_changed_inputs_meet_typed_errors_alone() -> None:
    random = Random(1)
    for _ in range(3_000):
        identity.run(identity.inputs(random))


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    identity.run(data)


def test_the_samples_are_valid() -> None:
    for target, sample in identity._TARGETS:
        target(sample)
