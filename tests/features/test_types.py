import pytest

from delc.features.types import Family, base_name, family, needs_double


@pytest.mark.parametrize(
    ("type_name", "expected"),
    [
        ("integer", Family.INTEGER),
        ("bigint", Family.INTEGER),
        ("double precision", Family.FLOAT),
        ("numeric(10,2)", Family.DECIMAL),
        ("boolean", Family.BOOLEAN),
        ("character varying(20)", Family.TEXT),
        ("character(3)", Family.TEXT),
        ('"char"', Family.OTHER),
        ("public.citext", Family.TEXT),
        ("timestamp(3) without time zone", Family.TIMESTAMP),
        ("timestamp with time zone", Family.TIMESTAMP),
        ("time without time zone", Family.TIME),
        ("interval", Family.INTERVAL),
        ("real[]", Family.NUMBERS),
        ("numeric(10,2)[]", Family.NUMBERS),
        ("boolean[]", Family.FLAGS),
        ("character varying(20)[]", Family.TEXTS),
        ("public.mood[]", Family.TEXTS),
        ("vector(3)", Family.NUMBERS),
        ("public.vector(3)", Family.NUMBERS),
        ("delc.tensor", Family.NUMBERS),
        ("tensor", Family.NUMBERS),
        ('"My Schema".vector', Family.NUMBERS),
        ("vector(3)[]", Family.UNUSABLE),
        ("bytea", Family.BYTES),
        ("bytea[]", Family.UNUSABLE),
        ("date[]", Family.UNUSABLE),
        ("jsonb", Family.UNUSABLE),
        ("public.mood", Family.OTHER),
        ("inet", Family.OTHER),
    ],
)
def test_a_type_name_tells_its_family(type_name: str, expected: Family) -> None:
    assert family(type_name) is expected


def test_the_base_name_has_neither_schema_nor_modifier() -> None:
    assert base_name('"My Schema"."my type"(3)[]') == "my type"


def test_arrays_of_doubles_and_integers_need_double_precision() -> None:
    assert needs_double("double precision[]")
    assert needs_double("integer[]")
    assert not needs_double("real[]")
    assert not needs_double("vector(3)")
