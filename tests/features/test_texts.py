import pytest
import torch

from delc.features.words import words
from delc.server.errors import InvalidData
from delc.server.inputs import InputSpec
from support.features import column, encode, fit, fit_encode

TEXT = {"t": "text"}
KIND = {"t": {"kind": "text"}}


def test_words_are_lower_cased_and_cut_at_what_is_no_letter_or_digit() -> None:
    assert words("Don't PANIC: it's 42, naïve-ish; 日本 _x") == [
        "don't",
        "panic",
        "it's",
        "42",
        "naïve",
        "ish",
        "日本",
        "_x",
    ]


def test_a_text_of_no_words() -> None:
    assert words(" …!\n") == []


def test_texts_become_token_ids_padded_with_0() -> None:
    result = fit_encode(TEXT, column("t", ["the cat", "The the dog!"]), KIND)["t"]
    assert result.dtype == torch.int64
    assert result.tolist() == [[2, 3, 0], [2, 2, 4]]


def test_the_input_tells_its_length_and_its_tokens() -> None:
    fitted = fit(TEXT, column("t", ["a b c", "a"]), {"t": {"kind": "text", "dimensions": 16}})
    assert fitted.input_specs() == {"t": InputSpec((3,), "int64", categories=5, dimensions=16)}


def test_an_unknown_word_is_1() -> None:
    fitted = fit(TEXT, column("t", ["a b"]), KIND)
    assert encode(fitted, TEXT, column("t", ["b z"]))["t"].tolist() == [[3, 1]]


def test_longer_texts_are_cut() -> None:
    fitted = fit(TEXT, column("t", ["a b c d"]), {"t": {"kind": "text", "length": 2}})
    assert encode(fitted, TEXT, column("t", ["c b a"]))["t"].tolist() == [[4, 3]]


def test_the_length_follows_the_longest_text_up_to_256() -> None:
    assert fit(TEXT, column("t", ["a " * 300]), KIND).input_specs()["t"].shape == (256,)


def test_only_the_most_frequent_words_are_known() -> None:
    options = {"t": {"kind": "text", "max_size": 1}}
    assert fit_encode(TEXT, column("t", ["b a a", "a c"]), options)["t"].tolist() == [[1, 2, 2], [2, 1, 0]]


def test_rare_words_are_unknown() -> None:
    options = {"t": {"kind": "text", "min_count": 2}}
    assert fit_encode(TEXT, column("t", ["b a", "a c"]), options)["t"].tolist() == [[1, 2], [2, 1]]


def test_an_empty_text_is_all_padding_and_not_null() -> None:
    assert fit_encode(TEXT, column("t", ["", "a"]), KIND)["t"].tolist() == [[0], [2]]


def test_texts_without_any_word() -> None:
    assert fit_encode(TEXT, column("t", ["", "!"]), KIND)["t"].tolist() == [[0], [0]]


def test_null_is_refused_or_an_empty_text() -> None:
    with pytest.raises(InvalidData, match='column "t" has 1 NULL value, the first in row 2'):
        fit(TEXT, column("t", ["a", None]), KIND)
    fitted = fit(TEXT, column("t", ["a"]), KIND)
    with pytest.raises(InvalidData, match='column "t" has 1 NULL value, the first in row 1'):
        encode(fitted, TEXT, column("t", [None]))
    options = {"t": {"kind": "text", "missing": "empty"}}
    assert fit_encode(TEXT, column("t", ["a", None]), options)["t"].tolist() == [[2], [0]]


def test_a_text_beside_numbers_is_an_input_of_its_own() -> None:
    result = fit_encode({"t": "text", "x": "real"}, [{"t": "a", "x": 1}], KIND)
    assert set(result) == {"t", "input"}


def test_no_rows_encode_to_no_rows() -> None:
    assert encode(fit(TEXT, column("t", ["a b"]), KIND), TEXT, [])["t"].shape == (0, 2)


def test_tokens_stay_as_they_are() -> None:
    types, options = {"t": "integer[]"}, {"t": {"kind": "tokens", "dimensions": 4}}
    fitted = fit(types, column("t", [[3, 0, 7], [1, 2, 3]]), options)
    assert fitted.input_specs() == {"t": InputSpec((3,), "int64", categories=8, dimensions=4)}
    assert encode(fitted, types, column("t", [[7, 7, 0]]))["t"].tolist() == [[7, 7, 0]]


@pytest.mark.parametrize("token", [8, -1])
def test_a_token_out_of_range_is_an_error_that_names_row_column_and_range(token: int) -> None:
    types = {"t": "integer[]"}
    fitted = fit(types, column("t", [[3, 7]]), {"t": "tokens"})
    with pytest.raises(InvalidData, match=f'column "t" has the token {token} in row 2') as caught:
        encode(fitted, types, column("t", [[1, 1], [0, token]]))
    assert caught.value.detail == "Tokens run from 0 to 7."


def test_the_number_of_tokens_can_be_given() -> None:
    types = {"t": "integer[]"}
    assert fit(types, column("t", [[1]]), {"t": {"kind": "tokens", "size": 100}}).input_specs()["t"].categories == 100
    with pytest.raises(InvalidData, match="the token 100 in row 1"):
        fit(types, column("t", [[100]]), {"t": {"kind": "tokens", "size": 100}})


def test_missing_tokens_are_refused_or_0() -> None:
    types = {"t": "integer[]"}
    with pytest.raises(InvalidData, match='column "t" has 1 NULL value'):
        fit(types, column("t", [[1], None]), {"t": "tokens"})
    options = {"t": {"kind": "tokens", "missing": "zero"}}
    assert fit_encode(types, column("t", [[1], None]), options)["t"].tolist() == [[1], [0]]
