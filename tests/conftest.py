"""What every test may rely on: no setting comes from the shell that runs them, and hypothesis keeps to the time."""

import os

import freezegun
import pytest
from freezegun.config import DEFAULT_IGNORE_LIST
from hypothesis import HealthCheck, settings

# freezegun leaves the clock alone in every module whose name begins with `queue`; it means the standard library's.
freezegun.configure(default_ignore_list=[name for name in DEFAULT_IGNORE_LIST if name != "queue"])

settings.register_profile(
    "here", deadline=None, database=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("here")


@pytest.fixture(autouse=True)
def _no_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("QUEUECTL_") or name in ("DB_PATH", "MAX_RETRIES", "BACKOFF_BASE"):
            monkeypatch.delenv(name)
