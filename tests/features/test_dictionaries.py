import numpy as np

from delc.features.dictionaries import CodeTable, Intern, RaggedTable


def lengths(asked: list[str]) -> CodeTable:
    def number_of(text: str) -> int:
        asked.append(text)
        return len(text)

    return CodeTable(number_of, -7)


def test_codes_and_nulls_are_looked_up() -> None:
    assert lengths([]).take(np.array([1, 0, -1, 1], dtype=np.int32), ["a", "bbb"]).tolist() == [3, 1, -7, 3]


def test_each_text_is_asked_for_once_while_the_dictionary_grows() -> None:
    asked: list[str] = []
    table, dictionary = lengths(asked), ["a"]
    table.take(np.array([0]), dictionary)
    dictionary.append("bb")
    assert table.take(np.array([1, 0]), dictionary).tolist() == [2, 1]
    assert table.take(np.array([2]), ["a", "bb", "ccc"]).tolist() == [3]
    assert asked == ["a", "bb", "ccc"]


def test_another_read_s_dictionary_starts_anew() -> None:
    table = lengths([])
    table.take(np.array([0, 1]), ["a", "bb"])
    assert table.take(np.array([0, 1]), ["dddd", "a"]).tolist() == [4, 1]
    assert table.take(np.array([0]), ["bb"]).tolist() == [2]


def test_a_list_that_is_filled_with_other_texts_starts_anew() -> None:
    table, dictionary = lengths([]), ["a"]
    table.take(np.array([0]), dictionary)
    dictionary[:] = ["xyz"]
    assert table.take(np.array([0]), dictionary).tolist() == [3]


def test_the_table_grows_with_many_texts() -> None:
    texts = [str(i) for i in range(10_000)]
    table = CodeTable(int, -1)
    assert table.take(np.arange(5), texts[:5]).tolist() == list(range(5))
    assert table.take(np.arange(10_000), texts).tolist() == list(range(10_000))


def test_no_codes_give_no_numbers() -> None:
    assert lengths([]).take(np.empty(0, dtype=np.int32), []).tolist() == []


def letters() -> RaggedTable:
    return RaggedTable(lambda text: np.array([ord(letter) for letter in text], dtype=np.int32))


def test_runs_of_numbers_come_with_row_and_position() -> None:
    rows, positions, numbers = letters().take(np.array([1, -1, 2, 0]), ["ab", "c", ""])
    assert rows.tolist() == [0, 3, 3]
    assert positions.tolist() == [0, 0, 1]
    assert [chr(number) for number in numbers] == ["c", "a", "b"]


def test_runs_grow_with_the_dictionary_and_start_anew_with_another() -> None:
    table = letters()
    table.take(np.array([0]), ["ab"])
    assert table.take(np.array([1]), ["ab", "x" * 5000])[2].tolist() == [ord("x")] * 5000
    assert table.take(np.array([0]), ["z"])[2].tolist() == [ord("z")]


def test_interned_texts_keep_their_numbers() -> None:
    intern = Intern()
    assert [intern(text) for text in ["b", "a", "b"]] == [0, 1, 0]
