import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from histocyte.files.arrow import arrow_array, arrow_rows, arrow_texts, numpy_array


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("count", [0, 1, 9, 300])
def test_numbers_and_flags_are_what_pyarrow_makes_of_them(dtype: type, count: int) -> None:
    values = (np.random.default_rng(0).random(count) * 100).round().astype(dtype)
    assert arrow_array(values).equals(pa.array(values))
    for part in (slice(None), slice(3, 7)):
        assert numpy_array(pa.array(values)[part]).tolist() == values[part].tolist()
        assert numpy_array(pa.array(values)[part]).dtype == values.dtype


def test_missing_values_are_no_numbers() -> None:
    with pytest.raises(ValueError, match="1 values are missing"):
        numpy_array(pa.array([1, None, 3]))


def test_every_second_value_is_taken_where_the_array_is_such_a_view() -> None:
    values = np.arange(20.0).reshape(10, 2)[:, 1]
    assert arrow_array(values).to_pylist() == list(range(1, 20, 2))


def test_rows_keep_their_order_also_of_a_turned_matrix() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert arrow_rows(matrix).to_pylist() == matrix.tolist()


@pytest.mark.parametrize("texts", [[], ["cell"], ["épithélial", "", "spindle"]])
def test_texts_are_what_pyarrow_makes_of_them(texts: list[str]) -> None:
    assert arrow_texts(texts).equals(pa.array(texts, pa.string()))


def test_a_table_is_written_without_pandas() -> None:
    code = (
        "import sys, tempfile, pathlib, numpy as np\n"
        "from histocyte.core.cells import Cells\n"
        "from histocyte.core.taxonomy import Taxonomy\n"
        "from histocyte.formats.geoparquet import GeoParquetWriter\n"
        "from histocyte.store.table import pack, unpack\n"
        "cells = Cells.empty(Taxonomy('none', ()), 0.25)\n"
        "unpack(pack(cells, np.zeros(0, bool), {}))\n"
        "with GeoParquetWriter(pathlib.Path(tempfile.mkdtemp()) / 'a.parquet', cells.taxonomy, 0.25) as writer:\n"
        "    writer.write(cells)\n"
        "assert 'pandas' not in sys.modules, 'pandas was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
