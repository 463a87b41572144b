"""Fixtures of all tests: seeds, one configuration, one thread."""

import os

import pytest
import sklearn

SEEDS = range(20)


def pytest_generate_tests(metafunc):
    """Run numeric tests for one seed, a given one, or all of them."""
    if "global_random_seed" in metafunc.fixturenames:
        asked = os.environ.get("SKPAPERS_TESTS_GLOBAL_RANDOM_SEED", "7")
        seeds = SEEDS if asked == "all" else [int(asked)]
        metafunc.parametrize("global_random_seed", seeds)


@pytest.fixture(autouse=True)
def _default_configuration():
    """Keep scikit-learn's global configuration from leaking between tests."""
    with sklearn.config_context():
        yield
