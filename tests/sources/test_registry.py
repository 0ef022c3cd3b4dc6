from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fomo.city import CityError, mock_city, save_city, validate
from fomo.sources import data_folder, list_families, read_cities, read_family


def test_every_form_is_read_whatever_its_name_and_sizes(form, write_form):
    cities = read_cities(write_form(form, name="renamed"))
    assert cities
    for city in cities:
        assert validate(city) is city
        assert city.attrs["family"].startswith("renamed")
        assert len(city.attrs["sha256"]) == 64
        assert city.attrs["source"]
    names = [city.attrs["name"] for city in cities]
    assert len(set(names)) == len(names)


def test_a_file_cut_short_is_called_damaged(form, write_form):
    path = write_form(form)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CityError, match=rf"{path.name} .*damaged.*fetch it again"):
        read_cities(path)


def test_a_flipped_byte_inside_an_array_is_noticed(write_form):
    path = write_form("npdiff")
    content = bytearray(path.read_bytes())
    content[600] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CityError, match=r"'traffic' of .*fetch the file again"):
        read_cities(path)


def test_an_unknown_form_says_what_it_found_and_what_is_known(tmp_path):
    np.savez(tmp_path / "strange.npz", temperature=np.zeros(3))
    with pytest.raises(CityError, match=r"(?s)strange.npz holds \['temperature'\].*uomo: traffic.*table with"):
        read_cities(tmp_path / "strange.npz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.npz", b"", "is empty"),
        ("note.txt", b"hello there", "is neither"),
        ("text.npz", b"hello there", "is neither"),
    ],
)
def test_a_file_that_is_no_data_says_so(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CityError, match=message):
        read_cities(tmp_path / name)


def test_a_missing_file_and_a_plain_folder_say_so(tmp_path):
    with pytest.raises(CityError, match="there is no file"):
        read_cities(tmp_path / "absent.npz")
    with pytest.raises(CityError, match="is a folder"):
        read_cities(tmp_path)


def test_arrays_of_objects_are_refused_and_never_unpickled(write_form):
    path = write_form("npdiff", traffic=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CityError, match="objects are refused"):
        read_cities(path)


def test_families_are_called_by_stem_and_layer(write_form):
    folder = write_form("uomo", name="uomo_here").parent
    write_form("jinan", name="town")
    write_form("german", name="context")
    families = list_families(folder)
    assert list(families) == sorted(families)
    assert set(families) == {
        "uomo_here",
        "context_ulm",
        "context_trier_context",
        "town",
        "town_5g_up",
        "town_4g_down",
        "town_4g_up",
    } | {f"town_districts_{kind}" for kind in ("5g_down", "5g_up", "4g_down", "4g_up")}
    for family in families:
        assert {city.attrs["family"] for city in read_family(folder, family)} == {family}


def test_listing_reads_names_only(write_form):
    path = write_form("npdiff", traffic=np.array([{"a": 1}], dtype=object))
    assert list_families(path.parent) == {"any_name": path}


def test_an_unknown_family_lists_those_there_are_and_what_was_left_out(write_form):
    folder = write_form("npdiff", name="here").parent
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(CityError, match=r"no family 'there' .*: here; broken.npz was left out: .*damaged"):
        read_family(folder, "there")


def test_a_damaged_file_is_left_out_of_the_list_with_a_warning(write_form):
    folder = write_form("npdiff", name="here").parent
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 no more")
    with pytest.warns(UserWarning, match="broken.npz is left out"):
        assert list(list_families(folder)) == ["here"]


def test_two_files_of_one_family_are_refused(write_form):
    folder = write_form("jinan", name="town").parent
    write_form("npdiff", name="town_4g_up")
    with pytest.raises(CityError, match="both are family 'town_4g_up': rename one"):
        list_families(folder)


def test_a_saved_city_is_a_family_too(tmp_path):
    city = mock_city()
    save_city(city, tmp_path / "kept.zarr")
    assert list_families(tmp_path) == {"kept": tmp_path / "kept.zarr"}
    assert read_family(tmp_path, "kept")[0].identical(city)
    assert read_cities(tmp_path / "kept.zarr")[0].identical(city)


def test_a_damaged_saved_city_says_so(tmp_path):
    path = save_city(mock_city(), tmp_path / "kept.zarr")
    for chunk in (path / "traffic" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"rubbish")
    with pytest.raises(CityError, match="damaged city"):
        read_cities(path)


def test_the_data_folder_is_the_option_then_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("FOMO_DATA", raising=False)
    with pytest.raises(CityError, match="pass --data DIR or set the environment variable FOMO_DATA"):
        data_folder()
    monkeypatch.setenv("FOMO_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    assert data_folder("/") == Path("/")
    with pytest.raises(CityError, match=r"no folder .*absent: pass --data DIR"):
        list_families(tmp_path / "absent")


def test_reading_cities_needs_no_torch():
    code = "import sys, fomo.sources.synthetic; print(*(name in sys.modules for name in ('torch', 'polars')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
