"""Every shipped starter answers as it did when it was shipped."""

import json

import numpy as np
import pytest

from tests import golden

KNOWN = json.loads(golden.FILE.read_text())


def test_every_starter_has_its_numbers():
    assert sorted(KNOWN) == sorted(golden.STARTERS)


@pytest.mark.parametrize("key", golden.STARTERS)
def test_a_starter_answers_as_it_did(key):
    assert golden.digest(key) == KNOWN[key]["sha256"], "trained anew? python -m tests.golden"
    # Other processors add up in another order; a wrong weight moves far more than this.
    np.testing.assert_allclose(golden.answer(key), KNOWN[key]["answer"], atol=1.0)
