import json

import pytest

from ddranking.scoring.record import Record


@pytest.fixture(scope="module")
def record(make_record) -> Record:
    return make_record()


@pytest.fixture(scope="module")
def values(record) -> dict:
    return json.loads(record.to_json())
