"""Columns told by what is in them: the sure cases are told, the doubtful ones are refused, never guessed."""

import random
from pathlib import Path

import pytest

from bertie.errors import DataError, SettingsError
from bertie.items.text import Text
from bertie.readers.columns import guess
from bertie.readers.table import read_table

WORDS = ("the", "film", "was", "very", "good", "cat", "sat", "in", "old", "house", "by", "river", "two", "dogs", "ran")


def prose(number: int) -> str:
    draw = random.Random(number)
    return f"{' '.join(draw.choices(WORDS, k=draw.randint(5, 14)))} {number}"


def table(folder: Path, *lines: str, name: str = "a.tsv") -> Path:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_an_address_or_a_hash_is_no_text() -> None:
    rows = [
        (n, [f"https://example.org/a/very/long/address/of/number/{n:060}", prose(n), str(n % 2)]) for n in range(60)
    ]
    assert guess(rows, ("0", "1", "2")).mapping == {"text": 1, "label": 2}


def test_a_chinese_text_needs_no_spaces() -> None:
    rows = [(n, [f"{n:030x}", f"北京的猫很好第{n}", "好坏"[n % 2]]) for n in range(60)]
    assert guess(rows, ("0", "1", "2")).mapping == {"text": 1, "label": 2}


def test_two_columns_that_may_hold_the_label_are_refused(tmp_path: Path) -> None:
    genres, years = ("news", "captions", "forums"), ("2012", "2013", "2014", "2015")
    path = table(
        tmp_path, *(f"{genres[n % 3]}\t{years[n % 4]}\t{n % 6}.0\t{prose(n)}\t{prose(n + 99)}" for n in range(60))
    )
    with pytest.raises(DataError, match=r"several columns may hold the label: 0 \(3 values .*choose with --columns"):
        read_table(path, labelled=True)
    # Nobody asks for labels where texts alone are wanted.
    assert read_table(path).mapping == {"text": "3", "pair": "4"}
    found = read_table(path, labelled=True, columns={"text": "3", "pair": "4", "label": "2"})
    assert found.items[1] == Text(prose(1), prose(100), "1.0", 2)


def test_a_second_label_of_a_short_table_is_seen(tmp_path: Path) -> None:
    rows = [f"{prose(number)}\t{number % 2}\t{number % 3}" for number in range(8)]
    with pytest.raises(DataError, match=r"several columns may hold the label: mood \(2 .* place \(3 "):
        read_table(table(tmp_path, "text\tmood\tplace", *rows), labelled=True)


def test_of_two_such_columns_0_and_1_are_the_label(tmp_path: Path) -> None:
    path = table(tmp_path, *(f"source{n % 7}\t{n % 2}\t{prose(n)}" for n in range(60)))
    assert read_table(path, labelled=True).mapping == {"text": "2", "label": "1"}


def test_three_texts_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path, *(f"{prose(n)}\t{prose(n + 100)}\t{prose(n + 200)}\t{n % 2}" for n in range(60)))
    with pytest.raises(DataError, match="the columns 0, 1, 2 all read like texts"):
        read_table(path)


def test_a_label_that_is_also_a_name_of_columns_is_no_header(tmp_path: Path) -> None:
    rows = [f"{('question', 'comment', 'review')[n % 3]}\t{prose(n)}" for n in range(60)]
    found = read_table(table(tmp_path, *rows), labelled=True)
    assert len(found.items) == 60 and found.items[0].label == "question"


def test_the_header_once_more_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "text\tlabel", f"{prose(1)}\t0", "text\tlabel", f"{prose(2)}\t1")
    with pytest.raises(DataError, match=r"a\.tsv:3: the header appears again"):
        read_table(path)


def test_uneven_rows_by_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{n}\t{prose(n)}\t{n % 2}" for n in range(1, 301)]
    rows[4] += "\tmore\tand more"
    rows[7] = "8\tdamaged"
    path = table(tmp_path, *rows)
    with pytest.raises(DataError, match=r"a\.tsv:5: 5 fields, the first line has 3.*such as --columns text=3,label=1"):
        read_table(path, labelled=True)
    found = read_table(path, columns={"text": "1", "label": "2"}, labelled=True)
    assert len(found.items) == 299 and found.items[4].label == "1" and found.items[7].line == 9
    said = capsys.readouterr().err
    assert "1 rows have more than 3 fields, the first at line 5" in said
    assert "warning: " in said and "1 rows without column 2 are left out, the first at line 8" in said


def test_many_short_rows_are_refused(tmp_path: Path) -> None:
    rows = [f"{n}\t{prose(n)}" + (f"\t{n % 2}" if n % 10 else "") for n in range(1, 101)]
    with pytest.raises(DataError, match=r"a\.tsv:10: 10 of 100 rows have no column 2"):
        read_table(table(tmp_path, *rows), columns={"text": "1", "label": "2"})


def test_uneven_rows_of_a_csv_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "text\tlabel", "a b\t1", "c d\t0\tx")
    with pytest.raises(DataError, match=r"a\.tsv:3: 3 fields.*choose columns by number"):
        read_table(path)
    assert len(read_table(path, columns={"text": "0", "label": "1"}).items) == 2  # the advice helps
    with pytest.raises(DataError, match=r"a\.csv:2: 3 fields, the first line has 2; .*fix the line$"):
        read_table(table(tmp_path, "a b,1", "c d,0,x", name="a.csv"), columns={"text": "0", "label": "1"})


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path) -> None:
    for name in ("a.xlsx", "a.data", "a"):
        with pytest.raises(SettingsError, match=r"texts and labels are read from \.txt, \.csv, \.tsv, \.jsonl, "):
            read_table(table(tmp_path, "text,label", "a,b", name=name))
    with pytest.raises(SettingsError, match=r"read a folder as a data set, write hub:.*:train"):
        read_table(tmp_path)


BY_NUMBER = {"text": "3", "label": "1"}
STSB = {"text": "5", "pair": "6", "label": "4"}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "rows", "num_labels", "columns"),
    [
        ("glue/sst2/train.tsv.gz", 67349, 2, None),
        ("glue/sst2/dev.tsv.gz", 872, 2, {"text": "0", "label": "1"}),
        ("glue/sst2/test.tsv.gz", 1821, 2, None),
        ("glue/cola/train.tsv.gz", 8551, 2, None),
        ("glue/cola/train.tsv.gz", 8551, 2, BY_NUMBER),
        ("glue/cola/dev.tsv.gz", 1043, 2, BY_NUMBER),
        ("glue/rte/train.tsv.gz", 2490, 2, None),
        ("glue/rte/dev.tsv.gz", 277, 2, {"text": "1", "pair": "2", "label": "3"}),
        ("glue/mrpc/train.tsv.gz", 3576, 2, None),
        ("glue/mrpc/dev.tsv.gz", 500, 2, None),
        ("glue/mrpc/test.tsv.gz", 1725, 2, {"text": "3", "pair": "4", "label": "0"}),
        ("glue/stsb/train.tsv.gz", 5749, None, STSB),
        ("glue/stsb/dev.tsv.gz", 1500, None, STSB),
        ("glue/stsb/test.tsv.gz", 1379, None, STSB),
        ("glue/qqp-part/part.tsv.gz", 23496, 2, {"text": "3", "pair": "4", "label": "5"}),
        ("lingnli/train.jsonl.gz", 44983, 3, None),
        ("lingnli/dev.jsonl.gz", 7371, 3, None),
        ("imdb/train.jsonl.xz", 25000, 2, None),
        ("imdb/test.jsonl.xz", 25000, 2, None),
        ("zh/chnsenticorp/train.tsv.gz", 9600, 2, None),
        ("zh/chnsenticorp/dev.tsv.gz", 1200, 2, {"text": "0", "label": "1"}),
        ("zh/tnews/train.tsv.gz", 53360, 15, None),
        ("zh/tnews/dev.tsv.gz", 10000, 15, {"text": "0", "label": "1"}),
        ("zh/afqmc/train.tsv.gz", 34334, 2, None),
        ("zh/afqmc/dev.tsv.gz", 4316, 2, {"text": "0", "pair": "1", "label": "2"}),
        ("zh/ocnli/train.10k.jsonl.gz", 9985, 3, None),
        ("zh/ocnli/dev.jsonl.gz", 2950, 3, None),
    ],
)
def test_real_files_hold_what_they_are_said_to(
    test_data: Path, name: str, rows: int, num_labels: int | None, columns: dict[str, str] | None
) -> None:
    items = read_table(test_data / name, columns=columns, labelled=True).items
    assert len(items) == rows
    assert not [item.line for item in items if not item.text.strip() or item.pair == ""]
    labels = {str(item.label) for item in items}
    if num_labels is None:
        assert all(0.0 <= float(label) <= 5.0 for label in labels)
    else:
        assert len(labels) == num_labels


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["glue/stsb/dev.tsv.gz", "glue/qqp-part/part.tsv.gz"])
def test_real_files_that_need_columns_say_so(test_data: Path, name: str) -> None:
    with pytest.raises(DataError, match="choose columns by number"):
        read_table(test_data / name, labelled=True)


@pytest.mark.parametrize(
    "stamp", ["Mon Apr {0:02} 22:19:45 PDT 2009", "2009-04-{0:02} 10:00:00", "{0} May 2011, 9:15 PM"]
)
def test_a_date_is_no_text(tmp_path: Path, stamp: str) -> None:
    rows = [f"{n % 2}\t{stamp.format(n % 28 + 1)}\t{'fine' if n % 3 else 'so bad'} {n}" for n in range(40)]
    assert read_table(table(tmp_path, *rows)).mapping["text"] == "2"


def test_a_title_beside_a_longer_text_is_refused(tmp_path: Path) -> None:
    rows = [f"Item {n}\t{prose(n)}\t{'ab'[n % 2]}" for n in range(40)]
    path = table(tmp_path, "title\tdescription\tcategory", *rows)
    with pytest.raises(DataError, match=r"'title', 'description' may .* --columns text=description,label=category$"):
        read_table(path, labelled=True)
    found = read_table(path, columns={"text": "description", "label": "category"}, labelled=True)
    assert found.items[0].text == prose(0)
