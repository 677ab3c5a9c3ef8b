import pytest

from delc.features import plan_features
from delc.features.settings import ArraySettings, CategoricalSettings, NumericSettings
from delc.server.batches import QueryColumn
from delc.server.errors import DatatypeMismatch, InvalidParameter, UndefinedObject
from support.features import columns

MIXED = {"age": "integer", "city": "text", "seen": "date", "pixels": "real[]", "member": "boolean"}


def test_kinds_follow_from_types() -> None:
    plan = plan_features(columns({**MIXED, "mood": "public.mood", "length": "interval", "at": "vector(3)"}))
    assert [column.kind for column in plan.columns] == [
        "numeric", "categorical", "datetime", "array", "boolean", "categorical", "numeric", "array",
    ]  # fmt: skip


def test_a_kind_may_be_given_as_a_word() -> None:
    assert plan_features(columns(MIXED), {"age": "categorical"}).columns[0].kind == "categorical"


def test_a_kind_and_its_settings_may_be_given_as_an_object() -> None:
    options = {"city": {"kind": "categorical", "encoding": "embedding", "dimensions": 8}}
    settings = plan_features(columns(MIXED), options).columns[1].settings
    assert settings == CategoricalSettings(encoding="embedding", dimensions=8)


def test_a_column_can_be_left_out() -> None:
    assert [column.name for column in plan_features(columns(MIXED), {"city": "ignore", "seen": "ignore"}).columns] == [
        "age", "pixels", "member",
    ]  # fmt: skip


def test_the_star_applies_to_every_column_that_has_the_setting() -> None:
    plan = plan_features(columns(MIXED), {"*": {"standardize": "minmax"}})
    assert isinstance(plan.columns[0].settings, NumericSettings)
    assert plan.columns[0].settings.standardize == "minmax"
    assert isinstance(plan.columns[3].settings, ArraySettings)
    assert plan.columns[3].settings.standardize == "minmax"


def test_the_star_leaves_alone_the_kinds_that_do_not_allow_the_value() -> None:
    plan = plan_features(columns(MIXED), {"*": {"missing": "mean"}})
    assert [column.settings.missing for column in plan.columns] == ["mean", "error", "mean", "mean", "mean"]


def test_a_column_s_own_setting_goes_before_the_star() -> None:
    plan = plan_features(columns(MIXED), {"*": {"missing": "mean"}, "age": {"missing": "zero"}})
    assert plan.columns[0].settings.missing == "zero"


def test_an_unknown_column_is_named_with_the_nearest() -> None:
    with pytest.raises(UndefinedObject, match='unknown column "citty"') as caught:
        plan_features(columns(MIXED), {"citty": "text"})
    assert caught.value.hint == 'Did you mean "city"?'


def test_an_unknown_option_is_named_with_the_nearest_and_the_known_ones() -> None:
    with pytest.raises(InvalidParameter, match='unknown option "standardise" of column "age"') as caught:
        plan_features(columns(MIXED), {"age": {"standardise": "none"}})
    assert caught.value.hint == 'Did you mean "standardize"?'
    assert "missing" in (caught.value.detail or "")


def test_an_unknown_kind_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidParameter, match='unknown kind of feature "numerical" for column "age"') as caught:
        plan_features(columns(MIXED), {"age": {"kind": "numerical"}})
    assert caught.value.hint == 'Did you mean "numeric"?'


@pytest.mark.parametrize(
    ("column", "settings"),
    [
        ("age", {"standardize": "standart"}),
        ("age", {"standardize": True}),
        ("age", {"missing": "category"}),
        ("city", {"dimensions": 0}),
        ("city", {"dimensions": 2.5}),
        ("city", {"min_count": True}),
        ("pixels", {"shape": [0, 4]}),
        ("pixels", {"shape": []}),
        ("pixels", {"shape": "8x8"}),
        ("pixels", {"shape": [100_000, 100_000]}),
        ("pixels", {"per": "pixel"}),
        ("seen", {"parts": ["century"]}),
        ("seen", {"parts": []}),
        ("seen", {"parts": ["month", "month"]}),
        ("age", {"input": ""}),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_what_is(column: str, settings: dict[str, object]) -> None:
    (name,) = settings
    with pytest.raises(InvalidParameter, match=f'option "{name}" of column "{column}"') as caught:
        plan_features(columns(MIXED), {column: settings})
    assert caught.value.detail


def test_a_misspelt_value_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidParameter) as caught:
        plan_features(columns(MIXED), {"age": {"standardize": "standart"}})
    assert 'Did you mean "standard"?' in (caught.value.detail or "")


@pytest.mark.parametrize("given", [3, None, ["numeric"]])
def test_options_of_a_column_that_are_no_object_are_refused(given: object) -> None:
    with pytest.raises(InvalidParameter, match='the options of column "age"'):
        plan_features(columns(MIXED), {"age": given})


@pytest.mark.parametrize("everywhere", [{"kind": "numeric"}, "none", {"standardise": "none"}, {"missing": "never"}])
def test_the_star_is_strict_too(everywhere: object) -> None:
    with pytest.raises(InvalidParameter):
        plan_features(columns(MIXED), {"*": everywhere})


@pytest.mark.parametrize(("type_name", "advice"), [("jsonb", "->>"), ("money", "numeric"), ("text[]", "leave it out")])
def test_a_type_that_cannot_be_a_feature_comes_with_advice(type_name: str, advice: str) -> None:
    with pytest.raises(DatatypeMismatch, match=r'column "document" of type') as caught:
        plan_features([QueryColumn("document", type_name)])
    assert advice in (caught.value.hint or "")


@pytest.mark.parametrize(("type_name", "kind"), [("text", "numeric"), ("integer", "array"), ("text", "datetime")])
def test_a_kind_that_does_not_suit_the_type_is_refused(type_name: str, kind: str) -> None:
    with pytest.raises(DatatypeMismatch, match=f"cannot be {kind}"):
        plan_features([QueryColumn("x", type_name)], {"x": kind})


def test_an_image_of_bytes_needs_a_shape() -> None:
    with pytest.raises(InvalidParameter, match='the shape of the images in column "picture"') as caught:
        plan_features([QueryColumn("picture", "bytea")])
    assert '"shape": [1, 28, 28]' in (caught.value.hint or "")


def test_no_columns_are_an_error() -> None:
    with pytest.raises(InvalidParameter, match="there are no features"):
        plan_features([])
    with pytest.raises(InvalidParameter, match="there are no features"):
        plan_features(columns({"a": "real"}), {"a": "ignore"})


def test_two_columns_of_one_name_are_an_error() -> None:
    with pytest.raises(InvalidParameter, match='two columns are called "a"'):
        plan_features([QueryColumn("a", "real"), QueryColumn("a", "real")])
