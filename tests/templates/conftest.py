"""Lets the promises explain themselves when they fail."""

import pytest

pytest.register_assert_rewrite("genomics_promises")
