"""Objects put together from columns are the JSON that they would be one by one."""

from __future__ import annotations

import json

import numpy as np

from serving.prediction import json_rows


def test_columns_and_constants_make_objects_in_order():
    names = [b'"say \\"hi\\""', '"Café"'.encode(), b'"say \\"hi\\""']
    made = json_rows.array_of(
        3, b'{"kind":1,"score":', json_rows.numbers(np.array([1.5, 2, 0.1])), b',"name":', names, b"}"
    )
    assert json.loads(made) == [
        {"kind": 1, "score": 1.5, "name": 'say "hi"'},
        {"kind": 1, "score": 2.0, "name": "Café"},
        {"kind": 1, "score": 0.1, "name": 'say "hi"'},
    ]


def test_numbers_keep_every_digit_and_no_number_is_null():
    values = np.random.default_rng(1).random(50)[::2]
    assert [float(one) for one in json_rows.numbers(values)] == values.tolist()
    assert json_rows.numbers(np.array([np.nan, 1.0])) == [b"null", b"1.0"]
    assert json_rows.numbers(np.arange(3)) == [b"0", b"1", b"2"]


def test_one_object_stands_alone():
    assert json.loads(json_rows.array_of(1, b'{"row":', json_rows.numbers(np.arange(1)), b"}")) == [{"row": 0}]
