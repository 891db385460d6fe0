from __future__ import annotations

import pytest

from histocyte.core.errors import InputError
from histocyte.encoders.networks.diffusion.schedule import alphas_bar


@pytest.mark.parametrize(
    ("step", "left"),
    [(0, 0.9985), (10, 0.983195), (50, 0.916687), (100, 0.823117), (200, 0.614585), (400, 0.234447), (999, 1.42304e-4)],
)
def test_published_schedule(step: int, left: float) -> None:
    assert float(alphas_bar()[step]) == pytest.approx(left, rel=1e-5)


@pytest.mark.parametrize("given", [(0, 0.1, 0.2), (10, 0.0, 0.2), (10, 0.3, 0.2), (10, 0.1, 1.0)])
def test_schedules_that_cannot_be(given: tuple[int, float, float]) -> None:
    with pytest.raises(InputError, match="noise schedule"):
        alphas_bar(*given)
