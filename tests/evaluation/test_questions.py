"""Which windows are asked, and where their errors count."""

from __future__ import annotations

import numpy as np
import pytest

from fomo.city import CityError, make_city, mock_city
from fomo.evaluation.questions import family_questions, generated_area, window_starts
from fomo.windows.split import cells_of, city_reference, last_fifth

START = "2024-01-01T00:00"
HISTORY = {"short": 48, "long": 16, "generate": 0}


def region(index, fold, steps=231, recorded=None, step_minutes=60, level=1.0):
    random = np.random.default_rng(index)
    users = random.gamma(2.0, 10.0, (steps, 4, 4))
    traffic = level * users * random.lognormal(0, 0.2, users.shape)
    if recorded is not None:
        traffic[recorded:] = np.nan
    return make_city(
        traffic,
        users=users,
        name=f"made/{index:02d}",
        family="made",
        start=START,
        step_minutes=step_minutes,
        fold=fold,
    )


def family(**arguments):
    return [region(i, i % 5, **arguments) for i in range(6)]


@pytest.mark.parametrize("name", ["short", "long", "generate"])
def test_folds_ask_every_fourth_window_of_the_tested_regions_only(name):
    questions = family_questions(family(), name)
    assert {question.region for question in questions} == {"made/00", "made/05"}
    first = [q.task.window["time"].values[0] for q in questions if q.region == "made/00"]
    hours = (np.array(first) - np.datetime64(START)) // np.timedelta64(1, "h")
    np.testing.assert_array_equal(hours, np.arange(0, 231 - 64 + 1, 4))


def test_another_fold_asks_other_regions():
    assert {q.region for q in family_questions(family(), "short", fold=2)} == {"made/02"}
    with pytest.raises(CityError, match="no region of fold 7"):
        family_questions(family(), "short", fold=7)


def test_quarter_hours_are_asked_at_stride_eight():
    assert window_starts(mock_city(100, step_minutes=15), "short", "fold") == [0, 8, 16, 24, 32]
    assert window_starts(mock_city(100, step_minutes=30), "short", "fold") == list(range(0, 37, 4))


def test_no_window_reaches_into_an_end_that_was_not_recorded():
    questions = family_questions(family(recorded=150), "short")
    last = max(q.task.window["time"].values[-1] for q in questions)
    assert last <= np.datetime64(START) + np.timedelta64(149, "h")
    assert all(np.isfinite(q.truth).all() for q in questions)


@pytest.mark.parametrize("name", ["short", "long", "generate"])
def test_errors_count_exactly_where_it_is_hidden_recorded_and_covered(name):
    cities = family()
    cities[0]["traffic"][100:110, 1, 1] = np.nan
    cities[0]["covered"][2, 2] = False
    for question in family_questions(cities, name)[:30]:
        shown = question.task.window["traffic"].values
        assert np.isnan(shown[question.scored]).all() and np.isfinite(question.truth[question.scored]).all()
        assert not question.scored[:, 2, 2].any() and not question.scored[: HISTORY[name]].any()
        hidden = np.isnan(shown) & np.isfinite(question.truth)
        np.testing.assert_array_equal(question.scored, hidden)


@pytest.mark.parametrize(("name", "steps"), [("short", 408), ("long", 408), ("generate", 408), ("short", 144)])
def test_without_folds_the_first_hidden_step_lies_in_the_last_fifth(name, steps):
    city = mock_city(steps)
    questions = family_questions([city], name)
    first = last_fifth(city)
    starts = [question.first_step - HISTORY[name] for question in questions]
    assert starts == list(range(first - HISTORY[name], steps - 64 + 1, 4))
    assert all(question.scored[HISTORY[name] :].any(axis=(1, 2)).all() for question in questions)


@pytest.mark.parametrize("name", ["long", "generate"])
def test_where_the_last_fifth_is_shorter_than_asked_the_last_window_counts_inside_it_only(name):
    city = mock_city(144)  # 29 test steps, fewer than 48 or 64
    (question,) = family_questions([city], name)
    assert question.task.window["time"].values[-1] == city["time"].values[-1]
    scored = np.flatnonzero(question.scored.any(axis=(1, 2))) + 144 - 64
    np.testing.assert_array_equal(scored, np.arange(115, 144))
    assert question.task.asked[HISTORY[name] :].any(axis=(1, 2)).all()
    assert question.first_step == 115


def test_the_middle_cells_of_a_region_are_generated():
    wanted = np.zeros((4, 4), bool)
    wanted[1:3, 1:3] = True
    np.testing.assert_array_equal(generated_area(mock_city(5)), wanted)
    (question, *_) = family_questions(family(), "generate")
    np.testing.assert_array_equal(question.task.asked.all(0), wanted)
    np.testing.assert_array_equal(question.task.asked.any(0), wanted)


@pytest.mark.parametrize("shape", [(20, 28), (5, 5), (27, 24)])
def test_larger_grids_are_generated_in_separate_blocks_of_four_cells(shape):
    area = generated_area(mock_city(3, *shape))
    tiles = (shape[0] // 4) * (shape[1] // 4)
    assert area.sum() == 4 * tiles
    corners = area[:-1, :-1] & area[1:, :-1] & area[:-1, 1:] & area[1:, 1:]
    assert corners.sum() == tiles  # each block is 2 x 2 and touches no other


def test_a_list_of_cells_is_generated_in_every_fourth_cell():
    city = make_city(np.ones((3, 1, 9)), name="list", start=START, step_minutes=60, layout="list")
    np.testing.assert_array_equal(np.flatnonzero(generated_area(city)), [1, 5])


def test_a_grid_too_small_to_generate_in_is_refused():
    with pytest.raises(CityError, match="4 x 4"):
        generated_area(mock_city(5, 3, 8))


def test_next_week_hides_the_second_week_and_knows_the_first():
    cities = [region(0, 0, steps=2 * 336 + 63, step_minutes=30), region(1, 1, steps=399, step_minutes=30)]
    questions = family_questions(cities, "short", split="next_week")
    assert {question.region for question in questions} == {"made/00"}
    begin, end = np.datetime64("2024-01-08T00:00"), np.datetime64("2024-01-15T00:00")
    hidden = [q.task.window["time"].values[48:] for q in questions]
    assert min(times[0] for times in hidden) == begin
    assert end - np.timedelta64(120, "m") < max(times[-1] for times in hidden) < end
    values = cities[0]["traffic"].values
    for question in questions:
        start = question.first_step - 48
        np.testing.assert_array_equal(question.task.last_week[48:], values[start + 48 - 336 : start + 64 - 336])
    assert questions[0].scale == "first week of all regions"
    blind = family_questions(cities, "short", split="next_week", past_week=False)
    assert len(blind) == len(questions) and all(q.task.last_week is None for q in blind)


def test_the_past_week_is_unknown_by_default_with_folds_and_known_in_time():
    blind = family_questions(family(), "short")
    assert not any(q.past_week or q.task.last_week is not None or q.task.earlier is not None for q in blind)
    assert any(q.task.last_week is not None for q in family_questions([mock_city(408)], "short"))
    assert not any(q.task.last_week is not None for q in family_questions([mock_city(408)], "generate"))


def test_last_week_never_shows_what_is_asked_even_with_steps_of_six_hours():
    city = mock_city(400, step_minutes=360)  # a week is 28 steps, less than the 48 asked
    for question in family_questions([city], "long"):
        start = question.first_step - 16
        shown = question.task.last_week
        np.testing.assert_array_equal(shown[:44], city["traffic"].values[start - 28 : start + 16])
        assert np.isnan(shown[44:]).all()


def test_the_scale_comes_from_the_other_folds():
    cities = [region(i, i % 5, level=1000.0 if i % 5 == 0 else 1.0) for i in range(10)]
    question = family_questions(cities, "short", reference=77.0)[0]
    pooled = np.concatenate([c["traffic"].values.ravel() for c in cities if c.attrs["fold"] != 0])
    assert question.reference == question.task.reference == city_reference(pooled)
    assert question.scale == "training folds"


def test_a_file_with_the_tested_fold_alone_takes_the_stored_scale():
    question = family_questions([region(0, 0)], "short", reference=77.0)[0]
    assert (question.reference, question.task.reference, question.scale) == (77.0, 77.0, "stored with weights")


def test_without_any_training_data_the_scale_is_the_tested_regions_own_and_kept_from_the_forecaster():
    city = region(0, 0)
    question = family_questions([city], "short")[0]
    assert question.reference == city_reference(city["traffic"].values)
    assert question.scale == "test regions' own data" and question.task.reference is None


def test_where_there_is_no_scale_but_the_tested_time_s_own_later_users_change_nothing_before():
    def shown(factor):
        city = region(0, 0)
        users = city["users"].values.copy()
        users[10, 0, 0] *= 50
        users[150:] *= factor
        questions = family_questions([city.assign(users=city["users"].copy(data=users))], "short", context="past")
        return questions[0].task.window["users"].values

    np.testing.assert_array_equal(shown(1), shown(1000))


def test_in_time_the_scale_is_that_of_the_training_part_alone():
    city = mock_city(408)
    city["traffic"][last_fifth(city) :] *= 50
    question = family_questions([city], "short", reference=77.0)[0]
    assert question.reference == city_reference(city["traffic"].values[: last_fifth(city)])
    assert question.scale == "own history"


def test_known_users_are_clipped_at_the_training_percentile_and_unknown_ones_are_not_shown():
    cities = family()
    cities[0]["users"][50] = 1e6
    limit = city_reference(np.concatenate([c["users"].values.ravel() for c in cities if c.attrs["fold"]]))
    full = family_questions(cities, "short", context="full")
    most = max(float(q.task.window["users"].max()) for q in full)
    assert most == pytest.approx(limit, rel=1e-6)
    assert all("users" not in q.task.window for q in family_questions(cities, "short"))
    past = family_questions(cities, "short", context="past")[0].task.window["users"].values
    assert np.isfinite(past[:48]).all() and np.isnan(past[48:]).all()


@pytest.mark.parametrize("context", ["past", "full"])
def test_asking_with_users_where_there_are_none_falls_back_to_what_there_is(context):
    city = mock_city(408)
    plain = family_questions([city], "short", context=context)
    assert {(q.task.context, q.task.layers) for q in plain} == {("none", ())}
    with_people = city.assign(residents=(("y", "x"), np.full((4, 4), 5.0, np.float32)))
    told = family_questions([with_people], "short", context=context)
    assert {(q.task.context, q.task.layers) for q in told} == {("past", ("residents",))}
    assert len(told) == len(plain)


@pytest.mark.parametrize("cities", [[], [mock_city(63)], [mock_city(400, 2, 2)]])
def test_cities_with_nothing_to_ask_are_an_error(cities):
    with pytest.raises(CityError):
        family_questions(cities, "generate")


def test_a_city_that_never_carried_anything_is_left_out_with_a_warning():
    alive = mock_city(408)
    dead = alive.assign(traffic=alive["traffic"] * 0).assign_attrs(name="dead")
    with pytest.warns(UserWarning, match="'dead' is left out.*carries no traffic"):
        questions = family_questions([alive, dead], "short")
    assert {question.region for question in questions} == {alive.attrs["name"]}
    with pytest.raises(CityError, match="'dead' is left out"):
        family_questions([dead], "short")


def test_a_window_whose_history_was_not_recorded_is_not_asked():
    city = mock_city(408)
    first = last_fifth(city)
    city["traffic"][first - 60 : first + 8] = np.nan
    questions = family_questions([city], "short")
    assert min(question.first_step for question in questions) > first
    assert all(np.isfinite(q.task.window["traffic"].values[:48]).any() for q in questions)


# ---------------------------------------------------------------- a district


AREA = (1, 4, 2, 5)


def town(steps=140):
    random = np.random.default_rng(4)
    users = random.gamma(2.0, 10.0, (steps, 6, 7))
    traffic = users * random.lognormal(0, 0.2, users.shape)
    traffic[:, 1:4, 2:5] *= 100  # the district is the busiest
    users[:, 1:4, 2:5] *= 100
    return make_city(
        traffic, users=users, residents=random.uniform(1, 9, (6, 7)), name="town", family="town",
        start=START, step_minutes=60,
    )  # fmt: skip


def test_a_district_is_generated_in_every_window_of_its_city():
    city = town()
    city["covered"][2, 3] = False
    questions = family_questions([city], "generate", area=AREA)
    inside = cells_of(AREA, city) & city["covered"].values
    assert [q.first_step for q in questions] == list(range(0, 140 - 64 + 1, 4))
    for question in questions:
        assert (question.task.asked == inside).all() and (question.scored == inside).all()
        shown = question.task.window["traffic"].values
        assert np.isnan(shown[:, inside]).all() and np.isfinite(shown[:, ~cells_of(AREA, city)]).all()
        assert (question.split, question.area, question.past_week) == ("area", "1:4,2:5", False)


def test_the_scale_of_a_district_is_that_of_the_city_without_it_and_so_are_its_users():
    city = town()
    outside = ~cells_of(AREA, city)
    question = family_questions([city], "generate", area=AREA, context="full")[0]
    assert question.reference == question.task.reference == city_reference(city["traffic"].values[:, outside])
    assert question.scale == "the city without the district"
    limit = city_reference(city["users"].values[:, outside])
    assert question.task.users_reference == limit
    assert float(question.task.window["users"].max()) == pytest.approx(limit, rel=1e-6)  # those inside are clipped


@pytest.mark.parametrize("layers", [("users",), ("residents",), ("users", "residents"), ()])
def test_of_the_context_the_layers_that_are_asked_are_shown(layers):
    for context in ("past", "full"):
        question = family_questions([town()], "generate", area=AREA, context=context, layers=layers)[0]
        told = {"users", "residents"} & set(layers)
        assert set(question.task.window.data_vars) & {"users", "poi", "residents"} == told
        if context == "past":
            assert set(question.task.layers) == told - {"users"}


@pytest.mark.parametrize("name", ["short", "long"])
def test_a_district_is_generated_and_not_forecast(name):
    with pytest.raises(CityError, match=rf"not asked for '{name}'"):
        family_questions([town()], name, area=AREA)


def test_a_district_outside_the_city_is_refused():
    with pytest.raises(CityError, match="does not lie on the grid"):
        family_questions([town()], "generate", area=(0, 7, 0, 2))


def test_users_before_the_window_are_told_with_the_past_week_and_context():
    cities = [region(0, 0, steps=400)]
    del cities[0].attrs["fold"]
    for context in ("none", "past", "full"):
        question = family_questions(cities, "short", context=context)[0]
        start = question.first_step - 48
        if context == "none":
            assert question.task.users_earlier is None
            continue
        limit = city_reference(cities[0]["users"].values[: last_fifth(cities[0])])
        expected = np.minimum(cities[0]["users"].values[:start], np.float32(limit))
        np.testing.assert_allclose(question.task.users_earlier, expected, rtol=1e-6)
        assert question.task.users_reference == limit
