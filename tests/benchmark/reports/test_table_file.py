import pytest

from benchmark.reports.table_file import read_table
from zoo_builder.errors import InputError


@pytest.fixture
def read(tmp_path):
    def read(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path)

    return read


@pytest.mark.parametrize("name", ["TABLE.CSV", "table.Csv", "run.1.csv", "TABLE.PARQUET", "table.Parquet"])
def test_the_name_of_a_file_may_be_in_capitals(table, tmp_path, name):
    path = tmp_path / name
    table.to_csv(path, index=False) if path.suffix.lower() == ".csv" else table.to_parquet(path)
    assert list(read_table(path)[0]) == list(table)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2,\n3,4,\n", "row 1 has 3 fields, the header 2 .*remove the delimiter at its end"),
        ("a,b\n1,2\n3,4,\n", "row 2 has 3 fields, the header 2 .*remove the delimiter at its end"),
        ("a,b\n1,2\n1,2,3\n", "row 2 has 3 fields, the header 2"),
        ("a,b\n.1,2,0\n.3,4,5\n", "row 1 has 3 fields, the header 2 .*name the column of row names"),
        ("a,b\n7,.2,.5\n9,.3,.6\n", "row 1 has 3 fields, the header 2"),
        ("a,b\nx,.2,.5\nx,.3,.6\n", "row 1 has 3 fields, the header 2"),
        ("a,b\nx,.2,.5,1\ny,.3,.6,1\n", "row 1 has 4 fields, the header 2"),
        ("a,b\nx,.2,.5\ny,.3\n", "row 1 has 3 fields, the header 2"),
        ("a,b,c\n1,2,3\n\n4,5\n", "row 2 has 2 fields, the header 3"),
        ("a,b\n0,1\n1,234,5\n", "row 2 has 3 fields, the header 2 .*quote values that hold a comma"),
        ("a;b\n0,5;1\n0,6;2\n", "row 1 has 2 fields, the header 1"),
        ("a,b,a\n1,2,3\n", "column 'a' appears more than once; rename one"),
        ("a,b,a \n1,2,3\n", "column 'a' appears more than once in spellings that look alike"),
        ("\u00e9,b,e\u0301\n1,2,3\n", "column '\u00e9' appears more than once in spellings that look alike"),
    ],
)
def test_fields_that_do_not_match_the_header_are_refused(read, content, words):
    with pytest.raises(InputError, match=words):
        read(content)


@pytest.mark.parametrize(
    "content",
    [
        "a,b\nm1,.1,2\nm2,.3,4\n",
        '"a","b"\n"1",.1,2\n"2",.3,4\n',
        "a,b\n0,.1,2\n1,.3,4\n",
    ],
)
def test_rows_may_have_names_that_the_header_leaves_out(read, content):
    table, notes = read(content)
    assert table.to_dict("list") == {"a": [0.1, 0.3], "b": [2, 4]}
    assert notes == ["the header has no name for the first field of the rows, so it was read as their names"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfa,b\n1,2\n3,4\n",
        b"a,b\r\n1,2\r\n\r\n3,4\r\n",
        b"a, b\n1, 2\n3, 4\n",
        b"a,b,\n1,2,\n3,4,\n",
        b'\n"a","b"\n"1","2"\n"3","4"',
    ],
)
def test_harmless_spellings_of_a_csv(read, content):
    table, notes = read(content)
    assert table.to_dict("list") == {"a": [1, 3], "b": [2, 4]}
    assert notes == []


def test_a_word_late_in_a_long_column_leaves_the_others_as_they_are(read):
    """pandas reads a long file in chunks, each with types of its own."""
    rows = [f"{i},0.10" for i in range(300_000)]
    table, _ = read("\n".join(["a,b", *rows, "1,auto"]))
    assert {*table["b"]} == {"0.10", "auto"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.csv", None, "there is no file .*missing.csv, expected a table"),
        ("missing.parquet", None, "there is no file .*missing.parquet"),
        ("table.xlsx", b"", "a table is a .csv or a .parquet file"),
        ("empty.csv", b"", "cannot be read as csv"),
        ("binary.csv", b"a,b\n\xff\xfe,2\n", "cannot be read as csv"),
        ("garbage.parquet", b"PAR1 and no more", "cannot be read as parquet"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_table(path)


def test_a_truncated_parquet_file(table, write_table):
    path = write_table(table, "table.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read as parquet"):
        read_table(path)
