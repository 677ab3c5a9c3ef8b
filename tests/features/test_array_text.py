import pytest
from hypothesis import given
from hypothesis import strategies as st

from delc.features.array_text import format_array, parse_array


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("{}", []),
        ("{a}", ["a"]),
        ("{a,b,c d}", ["a", "b", "c d"]),
        ('{a,"c d",""}', ["a", "c d", ""]),
        ('{"say \\"hi\\"","back\\\\slash","a,b","{}"}', ['say "hi"', "back\\slash", "a,b", "{}"]),
        ('{NULL,"NULL",null}', [None, "NULL", None]),
        ("[0:1]={a,b}", ["a", "b"]),
        ("{Ünï,日本}", ["Ünï", "日本"]),
        ('{"a\nb"}', ["a\nb"]),
        ("{\u00a0x}", ["\u00a0x"]),
    ],
)
def test_arrays_are_read_as_postgresql_writes_them(text: str, elements: list[str | None]) -> None:
    assert parse_array(text) == elements


@pytest.mark.parametrize(
    "text", ["", "a", "{", "}", "{a", "a}", "{a,}", "{,a}", "{a,,b}", "{{a},{b}}", '{"a}', '{"a"b}', "{a}{b}", "{ }"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_array(text)


@pytest.mark.parametrize(
    ("elements", "text"),
    [([], "{}"), (["a", "b c"], '{a,"b c"}'), (["", "null"], '{"","null"}'), (['"', "\\", ","], '{"\\"","\\\\",","}')],
)
def test_arrays_are_written_as_postgresql_reads_them(elements: list[str], text: str) -> None:
    assert format_array(elements) == text


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_what_is_written_is_read_back(elements: list[str]) -> None:
    assert parse_array(format_array(elements)) == elements
