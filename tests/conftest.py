"""Settings for all tests."""

import os

from hypothesis import settings

# No deadline per example: other work on the machine would decide it. More examples with HYPOTHESIS_PROFILE=thorough.
settings.register_profile("default", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
