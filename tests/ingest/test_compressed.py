"""Plain, gzip and zstd files as one stream; bombs and cuts are told."""

from __future__ import annotations

import gzip
import io
import sys

import pytest

from fomo.ingest.formats import compressed
from fomo.ingest.formats.compressed import open_binary
from fomo.ingest.ledger import IngestError

TEXT = b"".join(b"%d;%d\n" % (row, row * row) for row in range(20_000))


def packed(kind: str, content: bytes) -> bytes:
    if kind == "plain":
        return content
    if kind == "gzip":
        return gzip.compress(content)
    zstandard = pytest.importorskip("zstandard")
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


@pytest.mark.parametrize("kind", ["plain", "gzip", "zstd"])
def test_content_is_what_was_packed_whatever_the_name(tmp_path, kind):
    path = tmp_path / "any.dat"
    path.write_bytes(packed(kind, TEXT))
    with open_binary(path) as file:
        assert file.readline() == b"0;0\n"
        assert b"0;0\n" + file.read() == TEXT


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_members_one_after_the_other_are_one_file(tmp_path, kind):
    path = tmp_path / "two"
    path.write_bytes(packed(kind, TEXT[:1000]) + packed(kind, TEXT[1000:]))
    with open_binary(path) as file:
        assert file.read() == TEXT


def test_padding_between_and_after_members_is_no_member(tmp_path):
    path = tmp_path / "padded.gz"
    path.write_bytes(gzip.compress(b"ab") + bytes(600_000) + gzip.compress(b"cd") + bytes(5))
    with open_binary(path) as file:
        assert file.read() == b"abcd"


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_cut_file_gives_what_came_before_then_says_so(tmp_path, kind):
    path = tmp_path / "cut.gz"
    whole = packed(kind, TEXT)
    path.write_bytes(whole[: len(whole) - 5])
    got = io.BytesIO()
    with open_binary(path) as file, pytest.raises(IngestError, match=r"cut\.gz is cut off after \d+ bytes"):
        while True:
            got.write(file.read1(1000))
    assert TEXT.startswith(got.getvalue())
    if kind == "gzip":  # zstd hands over whole blocks, and all of this is one
        assert len(got.getvalue()) > len(TEXT) * 0.9


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_damaged_file_is_told(tmp_path, kind):
    path = tmp_path / "bad"
    whole = bytearray(packed(kind, TEXT))
    whole[len(whole) // 2 : len(whole) // 2 + 40] = bytes(40)
    path.write_bytes(bytes(whole))
    with open_binary(path) as file, pytest.raises(IngestError, match=r"damaged|cut off"):
        file.read()


def test_rubbish_after_a_member_is_damage(tmp_path):
    path = tmp_path / "tail.gz"
    path.write_bytes(gzip.compress(b"ab") + b"rubbish")
    with open_binary(path) as file, pytest.raises(IngestError, match="damaged"):
        file.read()


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(compressed, "FREE", 1 << 20)
    path = tmp_path / "bomb"
    path.write_bytes(packed(kind, bytes(30 << 20)))
    taken = 0
    with open_binary(path) as file, pytest.raises(IngestError, match="unpacks to more than 300 times its size"):
        while part := file.read1(65536):
            taken += len(part)
    assert taken < 30 << 20


def test_small_files_may_unpack_to_any_ratio(tmp_path):
    path = tmp_path / "zeros.gz"
    path.write_bytes(gzip.compress(bytes(2 << 20)))
    assert path.stat().st_size * compressed.RATIO < 2 << 20
    with open_binary(path) as file:
        assert file.read() == bytes(2 << 20)


def test_zip_missing_and_zstd_without_its_library_say_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04rest")
    with pytest.raises(IngestError, match="unpack it"):
        open_binary(tmp_path / "a.zip")
    with pytest.raises(IngestError, match=r"absent.* cannot be opened .*check the path"):
        open_binary(tmp_path / "absent")
    (tmp_path / "a.zst").write_bytes(b"\x28\xb5\x2f\xfdrest")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(IngestError, match=r"pip install 'fomo\[operator\]'"):
        open_binary(tmp_path / "a.zst")
