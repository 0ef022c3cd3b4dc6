from __future__ import annotations

import pytest


@pytest.fixture
def written(tmp_path):
    def write(text: str | bytes, name: str = "pm.xml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write
