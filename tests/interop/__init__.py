"""Other implementations as peers: a mistake that both of our sides make shows only here."""

import pytest

pytest.register_assert_rewrite("tests.interop.cases", "tests.interop.peers")
