"""Duplicates, other languages and rows of test sets are dropped, counted and listed; the first copy is kept."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertie.corpus.prepare import PrepareSettings, prepare
from bertie.corpus.selection import select as room
from bertie.corpus.selection.duplicates import bands, exact_copies, near_copies
from bertie.corpus.selection.fingerprints import HASHES, signature_of
from bertie.corpus.selection.select import SelectSettings
from bertie.corpus.selection.test_sets import TestSets
from bertie.corpus.selection.units import normalized, shingles_of, units_of
from bertie.corpus.shards import Corpus
from bertie.errors import DataError, SettingsError

pytest.importorskip("rensa")

CHANCE = random.Random(0)
SYLLABLES = [first + second for first in "bdfgklmnprstv" for second in "aeiou"]
HANZI = [chr(code) for code in range(0x4E00, 0x4E00 + 2000)]


def words(count: int) -> list[str]:
    """Return random words."""
    return ["".join(CHANCE.choices(SYLLABLES, k=3)) for _ in range(count)]


def changed(text: list[str], *places: int) -> str:
    """Return a text with some words replaced."""
    return " ".join("other" if place in places else word for place, word in enumerate(text))


def rows(path: Path, *texts: str) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def prepared(
    source: Path, out: Path, vocabulary: Path, processes: int = 1, **select: Any
) -> tuple[Corpus, list[dict[str, Any]]]:
    """Prepare a corpus; return it, and the documents that are listed as dropped."""
    settings = PrepareSettings(sentences="line", words="none")
    chosen = SelectSettings(**select)
    corpus = prepare(
        [source],
        tokenizer=vocabulary,
        out=out,
        settings=settings,
        num_processes=processes,
        select=chosen,
        list_dropped=True,
    )
    assert not out.with_name(f"{out.name}.selection").exists()
    statistics = corpus.manifest["statistics"]
    assert statistics["documents_read"] == corpus.num_documents + sum(statistics["dropped_documents"].values())
    listing = out / "dropped.jsonl"
    return corpus, [json.loads(line) for line in listing.read_text(encoding="utf-8").splitlines()]


def brief(dropped: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(one["line"], one["reason"], one.get("kept", {}).get("line")) for one in dropped]


@pytest.fixture(scope="module")
def story() -> list[str]:
    return words(200)


def test_units_of_any_text() -> None:
    assert units_of(normalized("The CAT's \u00bd l\u2019\u00e9t\u00e9, 2018!")) == [
        *("the", "cat", "s", "1", "2", "l", "\u00e9t\u00e9", "2018")
    ]
    assert normalized("\ufb01n\u2003 e\u0301") == normalized("FIN\n\u00c9") == "fin \u00e9"
    assert units_of("北京abc大学カタ ไทย") == [*"北京", "abc", *"大学カタ", *"ไทย"]
    assert units_of(" ,!? ") == [] and shingles_of([]) == []
    assert shingles_of(["a", "b"]) == ["a b"]
    assert units_of("\ud800a") == ["a"]


def test_the_first_copy_is_kept(tmp_path: Path, vocabulary: Path, story: list[str]) -> None:
    text = " ".join(story)
    source = rows(
        tmp_path / "a.jsonl",
        text,
        " ".join(words(200)),
        text,
        text.upper().replace(" ", "\n\t"),
        changed(story, 50),
        changed(story, *range(0, 200, 5)),
        "",
        "Short.",
        "short!",
        "SHORT.",
        "!!!",
        "???",
    )
    corpus, dropped = prepared(source, tmp_path / "exact", vocabulary, duplicates="exact")
    assert brief(dropped) == [(3, "exact_duplicate", 1), (4, "exact_duplicate", 1), (10, "exact_duplicate", 8)]
    assert corpus.manifest["statistics"]["dropped_documents"] == {"empty": 1, "exact_duplicate": 3}
    corpus, dropped = prepared(source, tmp_path / "near", vocabulary, duplicates="near")
    assert brief(dropped) == [
        *[(3, "exact_duplicate", 1), (4, "exact_duplicate", 1), (5, "near_duplicate", 1)],
        *[(9, "near_duplicate", 8), (10, "exact_duplicate", 8)],
    ]
    assert corpus.num_documents == 6
    assert 0.9 < dropped[2]["similarity"] < 1 and dropped[2]["file"] == dropped[2]["kept"]["file"] == str(source)
    assert corpus.manifest["selection"]["similarity"] == 0.7
    plain = prepare([source], tokenizer=vocabulary, out=tmp_path / "all")
    assert plain.num_documents == 11 and "selection" not in plain.manifest
    assert not (tmp_path / "all" / "dropped.jsonl").exists()


def test_chinese_is_compared_by_characters(tmp_path: Path, vocabulary: Path) -> None:
    text = CHANCE.choices(HANZI, k=300)
    other = [*text[:100], "新", *text[101:]]
    source = rows(tmp_path / "a.jsonl", "".join(text), "".join(CHANCE.choices(HANZI, k=300)), "".join(other))
    _, dropped = prepared(source, tmp_path / "corpus", vocabulary, duplicates="near")
    assert brief(dropped) == [(3, "near_duplicate", 1)]


def test_all_documents_equal(tmp_path: Path, vocabulary: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("The same text in every document of this file.\n\n" * 200)
    corpus, dropped = prepared(source, tmp_path / "corpus", vocabulary, duplicates="near")
    assert corpus.num_documents == 1 and len(dropped) == 199
    assert {one["kept"]["line"] for one in dropped} == {1} and dropped[-1]["line"] == 399


def test_lines_are_those_of_the_file(tmp_path: Path, vocabulary: Path) -> None:
    """Also if wrapped lines are joined, and in WikiExtractor's format."""
    line = "these words fill the whole line that is wrapped at some width so that it is"
    body = "".join(f"{line} {'x' * (number % 7)}\n" for number in range(30))
    (tmp_path / "a.txt").write_text(f"\n\n{body}\n\n\n{body}\n")
    (tmp_path / "b.txt").write_text(f'<doc id="1" title="One">\nOne\n\n{line}\n</doc>\n<doc id="2">\n{line}\n</doc>\n')
    settings = PrepareSettings(words="none")
    out = tmp_path / "corpus"
    select = SelectSettings(duplicates="exact")
    prepare([tmp_path], tokenizer=vocabulary, out=out, settings=settings, select=select, list_dropped=True)
    dropped = [json.loads(each) for each in (out / "dropped.jsonl").read_text().splitlines()]
    assert [(Path(one["file"]).name, *brief([one])[0]) for one in dropped] == [
        ("a.txt", 36, "exact_duplicate", 3),
        ("b.txt", 7, "exact_duplicate", 4),
    ]


def test_one_giant_document(tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is compared in slices: the memory of a process is bounded, and a changed copy is still found."""
    monkeypatch.setattr(room, "_CHUNK_CHARACTERS", 2000)
    giant = words(4000)
    source = rows(tmp_path / "a.jsonl", " ".join(giant), "Short.", changed(giant, 7, 3000), " ".join(giant))
    _, dropped = prepared(source, tmp_path / "corpus", vocabulary, duplicates="near")
    assert brief(dropped) == [(3, "near_duplicate", 1), (4, "exact_duplicate", 1)]


def test_a_surrogate_is_text(tmp_path: Path) -> None:
    """JSON can hold half a character; it must not stop the comparison."""
    select = SelectSettings(duplicates="near")
    source = tmp_path / "a.txt"
    source.write_text("x")
    documents = [room.Document([f"half \ud800 {number}"], str(source), False, 1) for number in (1, 1, 2)]
    selection = room.select(
        [source],
        read=lambda path, tally: iter(documents),
        reading={},
        settings=select,
        folder=tmp_path / "fingerprints",
        num_processes=1,
    )
    selection.store.remove()
    assert selection.reasons.tolist() == [0, 3, 0]


def test_similarity_is_estimated_without_bias() -> None:
    errors = []
    for _ in range(60):
        text = words(200)
        shared = CHANCE.randrange(50, 150)
        sets = [set(shingles_of(each)) for each in (text, [*text[:shared], *words(200 - shared)])]
        truth = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        estimate = float((signature_of(sorted(sets[0])) == signature_of(sorted(sets[1]))).mean())
        errors.append((estimate - truth) / (truth * (1 - truth) / HASHES) ** 0.5)
    assert abs(np.mean(errors)) < 0.5 and 0.6 < np.std(errors) < 1.4


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_bands_find_documents_at_the_threshold(similarity: float) -> None:
    count, length = bands(similarity)
    assert count * length <= HASHES and 1 - (1 - similarity**length) ** count >= 0.99


def test_near_copies_are_those_of_comparing_all_pairs() -> None:
    """Also where many documents share bands, and without chains: each is similar to a document that is kept."""
    generator = np.random.default_rng(0)
    originals = generator.integers(0, 2**16, (20, HASHES), dtype=np.uint16)
    signatures = originals[generator.integers(0, 20, 300)]
    different = generator.random(signatures.shape) < generator.uniform(0, 0.3, (300, 1))
    signatures[different] = generator.integers(0, 2**16, int(different.sum()), dtype=np.uint16)
    eligible = generator.random(300) < 0.9
    found = near_copies(lambda: iter([signatures[:1], signatures[1:90], signatures[90:]]), eligible, 0.8)
    kept: list[int] = []
    expected = []
    for number in np.flatnonzero(eligible).tolist():
        estimates = [float((signatures[number] == signatures[other]).mean()) for other in kept]
        if max(estimates, default=0) >= 0.8:
            expected.append(number)
        else:
            kept.append(number)
    agree = len({*expected} & {*found.documents.tolist()}) / len({*expected} | {*found.documents.tolist()})
    assert len(expected) > 50 and agree > 0.97
    assert not {*found.kept.tolist()} & {*found.documents.tolist()}
    assert (found.kept < found.documents).all() and (found.similarities >= 0.8).all()


def test_exact_copies_refer_to_the_first() -> None:
    digests = np.array([[1, 2], [1, 3], [1, 2], [2, 2], [1, 2], [1, 3]], np.uint64)
    found = exact_copies(digests, np.array([False, True, True, True, True, True]))
    assert found.documents.tolist() == [4, 5] and found.kept.tolist() == [2, 1]
    assert exact_copies(digests, np.zeros(6, bool)).documents.tolist() == []


def test_rows_of_test_sets(tmp_path: Path, vocabulary: Path, story: list[str]) -> None:
    long = words(40)
    short = "A lady sold her house."
    table = tmp_path / "test.tsv"
    table.write_text(
        f"text\tpair\tlabel\n{short}\tno\t1\n{' '.join(long)}\tNo.\t0\ntoo short\tno\t0\n"
        f"never seen in any of these documents\tno\t0\n",
        encoding="utf-8",
    )
    source = rows(
        tmp_path / "a.jsonl",
        " ".join(story),
        f"{' '.join(story[:9])} a LADY sold, her house {' '.join(story[9:30])}",
        f"{' '.join(words(30))} {' '.join(long[10:25])} {' '.join(words(30))}",
        f"{' '.join(words(30))} {' '.join(long)} {' '.join(words(30))}",
        f"a lady sold a house, {' '.join(long[10:22])}",
    )
    corpus, dropped = prepared(source, tmp_path / "report", vocabulary, test_sets=(table,))
    assert dropped == [] and corpus.num_documents == 5
    (found,) = corpus.manifest["selection"]["test_sets"]
    assert (found["rows"], found["rows_too_short"], found["rows_found"], found["rows_found_whole"]) == (4, 1, 2, 2)
    assert found["documents"] == 3
    assert found["examples"][0] == {
        "line": 2,
        "share": 1.0,
        "text": "a lady sold her house",
        "document": f"{source}:2",
    }
    assert found["examples"][1]["document"] == f"{source}:4"
    corpus, dropped = prepared(source, tmp_path / "drop", vocabulary, test_sets=(table,), leaks="drop")
    assert [(one["line"], one["reason"], one["test_row"]["line"]) for one in dropped] == [
        *[(2, "test_rows", 2), (3, "test_rows", 3), (4, "test_rows", 3)]
    ]
    assert corpus.manifest["statistics"]["dropped_documents"] == {"test_rows": 3}


def test_shares_of_rows(tmp_path: Path) -> None:
    """A row of 20 units has 8 grams; the documents' Chinese needs no spaces."""
    text = "".join(CHANCE.choices(HANZI, k=20))
    table = rows(tmp_path / "test.jsonl", text, text)
    sets = TestSets.read([table])
    assert sets.num_grams.tolist() == [8] and [row.cells for row in sets.rows] == [(0,), (0,)]
    for length, count in ((12, 0), (13, 1), (15, 3), (20, 8)):
        units = units_of(f"甲乙{text[:length]}丙丁")
        assert sets.find(units, shingles_of(units)) == ({0: count} if count else {})
    assert sets.find(["a"], ["a"]) == {}


def test_languages(tmp_path: Path, vocabulary: Path) -> None:
    pytest.importorskip("py3langid")
    english = "The committee will meet again on Thursday to discuss the budget for the next year."
    german = "Der Ausschuss wird am Donnerstag erneut zusammentreten, um über den Haushalt zu beraten."
    source = rows(
        tmp_path / "a.jsonl",
        english,
        german,
        "委员会将于星期四再次开会讨论明年的预算和计划安排。",
        "4:0",
        english.upper(),
    )
    corpus, dropped = prepared(source, tmp_path / "en", vocabulary, languages=("en",), duplicates="exact")
    assert brief(dropped) == [(2, "language", None), (3, "language", None), (5, "exact_duplicate", 1)]
    assert [one.get("language") for one in dropped] == ["de", "zh", None]
    assert corpus.num_documents == 2
    corpus, _ = prepared(source, tmp_path / "both", vocabulary, languages=("en", "de", "zh"))
    assert corpus.num_documents == 5


def test_a_dropped_document_is_no_copy(tmp_path: Path, vocabulary: Path, story: list[str]) -> None:
    """If the first of two similar documents holds a row of a test set, the other one is kept."""
    source = rows(tmp_path / "a.jsonl", " ".join(story), changed(story, 100), "The cat sat on the mat.")
    (tmp_path / "test.tsv").write_text(f"text\n{' '.join(story[95:106])}\n")
    tests = (tmp_path / "test.tsv",)
    corpus, dropped = prepared(
        source, tmp_path / "corpus", vocabulary, duplicates="near", test_sets=tests, leaks="drop"
    )
    assert brief(dropped) == [(1, "test_rows", None)] and corpus.num_documents == 2


def test_what_goes_wrong(tmp_path: Path, vocabulary: Path, story: list[str]) -> None:
    source = rows(tmp_path / "a.jsonl", " ".join(story))
    (tmp_path / "short.tsv").write_text("text\nyes\nno\n")
    before = sorted(tmp_path.iterdir())
    for select, error, message in (
        ({"similarity": 0.1}, SettingsError, "--similarity must be between 0.3 and 1; got 0.1"),
        ({"similarity": float("nan")}, SettingsError, "--similarity must be between"),
        ({"leaks": "drop"}, SettingsError, "name them with --test-sets"),
        ({"test_sets": (tmp_path / "none.tsv",)}, SettingsError, "no such test set"),
        ({"test_sets": (tmp_path / "short.tsv",)}, DataError, "no row has a text of at least 5 words"),
        ({"languages": ("english",)}, SettingsError, "--only-languages 'english' is unknown"),
        ({"languages": ("zh",)}, DataError, "all 1 documents would be dropped: language 1"),
    ):
        with pytest.raises(error, match=message):
            prepared(source, tmp_path / "corpus", vocabulary, **select)
        assert sorted(tmp_path.iterdir()) == before


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for select in (SelectSettings(duplicates="near"), SelectSettings(languages=("en",))):
        with pytest.raises(SettingsError, match=r"pip install 'bertie\[selection\]'"):
            select.check()
    SelectSettings(duplicates="exact").check()
