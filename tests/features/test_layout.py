import pytest

from delc.features import plan_features, plan_target
from delc.server.batches import PackColumn, QueryColumn
from delc.server.errors import DatatypeMismatch, InvalidParameter, UndefinedObject
from support.features import column, columns, fit

MIXED = {"age": "integer", "city": "text", "seen": "date", "pixels": "real[]", "size": "numeric(10,2)"}


def test_numbers_share_a_group_and_arrays_have_their_own() -> None:
    layout = plan_features(columns(MIXED)).layout_for(columns(MIXED))
    assert layout.pack.dtypes == ("float64", "int32", "float32")
    assert [packed.group for packed in layout.pack.columns] == [0, 1, 0, 2, 0]
    assert [packed.kind for packed in layout.pack.columns] == ["number", "category", "number", "number", "number"]


def test_columns_are_found_by_name_in_any_order() -> None:
    turned = columns(dict(reversed(MIXED.items())))
    layout = plan_features(columns(MIXED)).layout_for(turned)
    assert (layout.slots["size"].offset, layout.slots["seen"].offset, layout.slots["age"].offset) == (0, 1, 2)
    assert layout.slots["age"].column == 4


def test_columns_that_nothing_asks_for_are_not_packed() -> None:
    layout = plan_features(columns({"age": "integer"})).layout_for(columns({"note": "jsonb", "age": "integer"}))
    assert layout.pack.columns[0].group == -1
    assert layout.pack.columns[0].kind != "key"


def test_keys_are_kept_as_text() -> None:
    layout = plan_features(columns({"age": "integer"})).layout_for(
        columns({"age": "integer", "id": "uuid"}), keys=["id"]
    )
    assert layout.pack.columns[1] == PackColumn(-1, "key")
    assert layout.keys == (1,)


def test_the_target_has_a_group_of_its_own() -> None:
    layout = plan_features(columns({"age": "integer"})).layout_for(
        columns({"label": "text", "age": "integer"}), target=plan_target(columns({"label": "text"}))
    )
    assert layout.pack.dtypes == ("float64", "int32")
    assert layout.target[0].group == 1


def test_a_missing_column_is_named_with_the_columns_there_are() -> None:
    with pytest.raises(UndefinedObject, match='column "city" \\(feature\\) is missing from the query') as caught:
        plan_features(columns({"city": "text"})).layout_for(columns({"age": "integer", "size": "real"}))
    assert caught.value.detail == "The query's columns are: age, size."


def test_a_missing_column_is_named_with_the_nearest() -> None:
    with pytest.raises(UndefinedObject) as caught:
        plan_features(columns({"city": "text"})).layout_for(columns({"City": "text"}))
    assert 'Did you mean "City"?' in (caught.value.hint or "")


def test_a_retyped_column_is_an_error_that_names_both_types() -> None:
    with pytest.raises(DatatypeMismatch, match='column "age" is of type text, but was integer') as caught:
        plan_features(columns({"age": "integer"})).layout_for(columns({"age": "text"}))
    assert caught.value.hint == "Cast it in the query to integer."


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("integer", "numeric(12,3)"),
        ("real", "bigint"),
        ("text", "character varying(20)"),
        ("text", "public.mood"),
        ("integer[]", "delc.tensor"),
        ("vector(3)", "double precision[]"),
        ("date", "timestamp with time zone"),
    ],
)
def test_a_column_may_have_another_type_of_the_same_sort(was: str, now: str) -> None:
    assert plan_features(columns({"x": was})).layout_for(columns({"x": now})).slots["x"].type == now


@pytest.mark.parametrize(
    ("was", "now"),
    [("boolean", "integer"), ("date", "time without time zone"), ("text", "numeric"), ("real[]", "text[]")],
)
def test_a_column_of_another_sort_is_refused(was: str, now: str) -> None:
    with pytest.raises(DatatypeMismatch):
        plan_features(columns({"x": was})).layout_for(columns({"x": now}))


def test_a_lone_array_feature_takes_the_only_array_by_position() -> None:
    layout = plan_features(columns({"pixels": "real[]"})).layout_for(columns({"id": "integer", "image": "vector(64)"}))
    assert layout.slots["pixels"].column == 1


def test_a_lone_array_feature_does_not_choose_between_two() -> None:
    with pytest.raises(UndefinedObject, match='"pixels"'):
        plan_features(columns({"pixels": "real[]"})).layout_for(columns({"a": "real[]", "b": "real[]"}))


def test_a_lone_array_feature_does_not_take_the_target() -> None:
    target = plan_target(columns({"y": "real[]"}))
    layout = plan_features(columns({"x": "real[]"})).layout_for(columns({"a": "real[]", "y": "real[]"}), target=target)
    assert layout.slots["x"].column == 0


def test_a_name_that_two_columns_have_is_refused() -> None:
    with pytest.raises(InvalidParameter, match='two columns of the query are called "age"'):
        plan_features(columns({"age": "integer"})).layout_for([QueryColumn("age", "integer")] * 2)


def test_a_column_cannot_be_feature_and_target() -> None:
    with pytest.raises(InvalidParameter, match='column "age" is both target and feature'):
        plan_features(columns({"age": "integer"})).layout_for(
            columns({"age": "integer"}), target=plan_target(columns({"age": "integer"}))
        )


def test_known_shapes_tell_the_packer_the_widths() -> None:
    plan = plan_features(columns({"x": "bytea", "y": "real"}), {"x": {"shape": [1, 4, 4]}})
    assert plan.layout_for(columns({"y": "real", "x": "bytea"})).widths == (-1, 16)


def test_fitted_shapes_tell_the_packer_the_widths() -> None:
    fitted = fit({"x": "real[]"}, column("x", [[1, 2, 3]]))
    assert fitted.layout_for(columns({"id": "integer", "x": "vector"})).widths == (-1, 3)


def test_a_row_of_1600_columns_is_laid_out() -> None:
    wide = columns({f"c{i}": "real" for i in range(1600)})
    layout = plan_features(wide).layout_for(list(reversed(wide)))
    assert len(layout.pack.columns) == 1600
    assert layout.slots["c0"].offset == 1599
