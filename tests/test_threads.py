"""Mapping over files in threads keeps order, takes several arguments and passes errors on."""

import pytest

from augment.data.pictures.threads import FILES_PER_CHUNK, map_in_threads


@pytest.mark.parametrize("n", [0, 1, FILES_PER_CHUNK, 3 * FILES_PER_CHUNK + 5])
def test_results_are_in_order(n):
    assert map_in_threads(lambda a, b: (a, b), range(n), range(n, 2 * n)) == [
        (k, n + k) for k in range(n)
    ]


def test_an_error_is_passed_on():
    with pytest.raises(ZeroDivisionError):
        map_in_threads(lambda a: 1 // a, [2, 1, 0])
