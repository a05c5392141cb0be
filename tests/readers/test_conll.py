"""One word a line: which columns are words and tags is told by what is in them, or asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie import progress
from bertie.errors import BertieError, DataError, SettingsError
from bertie.readers.words import read_words

GERMEVAL = """#\thttps://example.org/a [2020-01-02]
1\tBei\tO\tO
2\tFC\tB-ORG\tO
3\tUlm\tI-ORG\tB-LOC
4\twar\tO\tO

#\thttps://example.org/b [2020-01-03]
1\tEva\tB-PER\tO
2\tlacht\tO\tO
"""
CONLL_U = """# newdoc id = a
# sent_id = a-1
# text = Can't swim.
1-2\tCan't\t_\t_\t_\t_\t_\t_\t_\t_
1\tCa\tcan\tAUX\tMD\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
3\tswim\tswim\tVERB\tVB\t_\t0\troot\t_\tSpaceAfter=No
3.1\tit\tit\tPRON\tPRP\t_\t_\t_\t3:obj\t_
4\t.\t.\tPUNCT\t.\t_\t3\tpunct\t_\t_

# sent_id = a-2
1\tNew York\tNew York\tPROPN\tNNP\t_\t0\troot\t_\t_
"""
CONLL_2012 = """#begin document (bc/x/00/x_0000); part 000
bc/x 0 0 Ann NNP (TOP(S(NP* - - - s1 (PERSON* (ARG0* -
bc/x 0 1 Lee NNP *) - - - s1 *) *) -
bc/x 0 2 left VBD (VP* leave 01 1 s1 * (V*) (3
bc/x 0 3 Rome NNP (NP*)))) - - - s1 (GPE) (ARG1*) 3)

bc/x 0 0 Yes UH (TOP(INTJ*)) - - - s2 * -

#end document
"""


@pytest.fixture(autouse=True)
def notes_show() -> None:
    progress.set_quiet(False)


def written(folder: Path, content: str, name: str = "a.conll") -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


def read(folder: Path, content: str, name: str = "a.conll", **columns: str) -> list[tuple[str, str]]:
    """Return words and tags of each sentence, joined by bars."""
    items = read_words(written(folder, content, name), columns=columns or None, labelled=True).items
    return [("|".join(item.words), "|".join(item.label or ())) for item in items]


def test_germeval_has_numbers_before_and_nested_entities_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = [("Bei|FC|Ulm|war", "O|B-ORG|I-ORG|O"), ("Eva|lacht", "B-PER|O")]
    for name in ("a.tsv", "a.conll", "a.txt"):
        assert read(tmp_path, GERMEVAL, name) == expected
    said = capsys.readouterr().err
    assert "nested entities, in column '3', are left out" in said and "2 comments left out" in said
    assert read(tmp_path, GERMEVAL, words="1", tags="3")[0] == ("Bei|FC|Ulm|war", "O|O|B-LOC|O")


def test_two_columns_of_entities_are_asked_about(tmp_path: Path) -> None:
    guessed = "Ann B-PER B-LOC\nin O O\nUlm B-LOC B-LOC\n"
    with pytest.raises(
        DataError, match=r"columns 1 \(B-PER B-LOC O\), 2 \(B-LOC O\) may all be the tags; choose .*tags=2"
    ):
        read(tmp_path, guessed)
    assert read(tmp_path, guessed, tags="1") == [("Ann|in|Ulm", "B-PER|O|B-LOC")]


def test_conll_u(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["Ca|n't|swim|.", "New York"]
    upos = list(zip(words, ["AUX|PART|VERB|PUNCT", "PROPN"], strict=True))
    for name in ("a.conllu", "a.txt", "a.tsv"):
        assert read(tmp_path, CONLL_U, name) == upos
    said = capsys.readouterr().err
    assert "CoNLL-U" in said and "1 ranges of words left out" in said and "1 empty nodes left out" in said
    table = read_words(written(tmp_path, CONLL_U), columns={"tags": "xpos"}, labelled=True)
    assert [item.label for item in table.items] == [("MD", "RB", "VB", "."), ("NNP",)]
    assert table.mapping == {"words": "form", "tags": "xpos"} and table.items[0].line == 5
    assert table.reading is not None and table.reading.form == "conll-u"
    # The plan of one file reads another: ranges and empty nodes are no words there either.
    assert read(tmp_path, CONLL_U, words="1", tags="3") == upos


def test_conll_u_with_entities(tmp_path: Path) -> None:
    both = CONLL_U.replace("\tSpaceAfter=No", "\tSpaceAfter=No|name=O").replace("root\t_\t_\n", "root\t_\tname=B-LOC\n")
    with pytest.raises(DataError, match=r"tags=upos or .*tags=xpos or --columns words=form,tags=misc\.name"):
        read(tmp_path, both)
    assert [tags for _, tags in read(tmp_path, both, tags="misc.name")] == ["O|O|O|O", "B-LOC"]
    only = "1\tRome\t_\t_\t_\t_\t_\t_\t_\tNE=S-LOC\n2\tshone\t_\t_\t_\t_\t_\t_\t_\t_\n"
    assert read(tmp_path, only) == [("Rome|shone", "B-LOC|O")]
    plus = "# global.columns = ID FORM UPOS MY:NER\n1\tRome\tPROPN\tB-LOC\n2\tshone\tVERB\tO\n"
    assert read(tmp_path, plus) == [("Rome|shone", "PROPN|VERB")]
    assert read(tmp_path, plus, tags="my:ner") == [("Rome|shone", "B-LOC|O")]


def test_conll_2012(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read(tmp_path, CONLL_2012) == [("Ann|Lee|left|Rome", "B-PERSON|I-PERSON|O|B-GPE"), ("Yes", "O")]
    assert "tags are entities in brackets" in capsys.readouterr().err
    assert read(tmp_path, CONLL_2012, tags="pos")[1] == ("Yes", "UH")
    with pytest.raises(DataError, match=r"a.conll:5: the entity \(GPE is not closed"):
        read(tmp_path, CONLL_2012.replace("(GPE)", "(GPE*"))
    nested = CONLL_2012.replace("(PERSON* ", "(PERSON(NORP*) ")
    assert read(tmp_path, nested)[0][1] == "B-PERSON|I-PERSON|O|B-GPE"
    assert "1 nested entities left out" in capsys.readouterr().err


@pytest.mark.parametrize("mark", ["\t", " ", ",", ";"])
def test_tags_first_and_every_separator(tmp_path: Path, mark: str) -> None:
    rows = ["B-PER Ann", "O saw", "B-LOC Ulm", "", "O Yes"]
    content = "\n".join(row.replace(" ", mark) for row in rows) + "\n"
    for name in ("a.conll", "a.csv", "a.tsv", "a.txt"):
        assert read(tmp_path, content, name) == [("Ann|saw|Ulm", "B-PER|O|B-LOC"), ("Yes", "O")]


def test_parts_of_speech_before_or_behind_the_words(tmp_path: Path) -> None:
    nouns = [f"thing{number}" for number in range(30)]
    rows = [row for noun in nouns for row in (("DT", "the"), ("NN", noun), ("VB", f"does{noun}"), None)]
    first = "\n".join(" ".join(row) if row else "" for row in rows)
    last = "\n".join(" ".join(reversed(row)) if row else "" for row in rows)
    assert read(tmp_path, first) == read(tmp_path, last)
    assert read(tmp_path, last)[0] == ("the|thing0|doesthing0", "DT|NN|VB")
    lemmas = "\n".join(f"{row[1]} {row[0]} {row[1].upper()}" if row else "" for row in rows)  # TreeTagger's order
    assert read(tmp_path, lemmas)[0] == ("the|thing0|doesthing0", "DT|NN|VB")
    with pytest.raises(DataError, match=r"may all be the words"):
        read(tmp_path, "DT the\nDT this\n")


@pytest.mark.parametrize("header", ["word tag", "Wort Marke", "词 标签", "token ner"])
def test_headers(tmp_path: Path, header: str, capsys: pytest.CaptureFixture[str]) -> None:
    for gap in ("\n", "\n\n"):
        assert read(tmp_path, f"{header}{gap}Ann B-PER\nsaw O\n\nUlm B-LOC\n") == [
            ("Ann|saw", "B-PER|O"),
            ("Ulm", "B-LOC"),
        ]
    assert "line 1 names the columns" in capsys.readouterr().err
    numbered = f"Nr {header}\n1 Ann B-PER\n2 saw O\n\n1 Ulm B-LOC\n"
    assert read(tmp_path, numbered)[0] == ("Ann|saw", "B-PER|O")
    with pytest.raises(DataError, match=r"a\.conll:4: the header appears again"):
        read(
            tmp_path,
            f"{header}\nAnn B-PER\n\n{header}\nUlm B-LOC\n" if header == "word tag" else "word tag\na O\n\nword tag\n",
        )


def test_a_first_tag_without_position_is_no_header(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tag 'PER' fits no scheme"):
        read(tmp_path, "Bob PER\nsaw O\nAnn B-PER\n")


def test_hashes_are_words_or_comments(tmp_path: Path) -> None:
    assert read(tmp_path, "# O\nAnn B-PER\n\n# 7\nUlm B-LOC\n\n#hash O\n") == [
        ("#|Ann", "O|B-PER"),
        ("Ulm", "B-LOC"),
        ("#hash", "O"),
    ]


def test_tables_of_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = [("Ann|,|saw", "B-PER|O|O"), ("Ulm|.", "B-LOC|O"), ("Yes", "O")]
    filled_down = (
        'Sentence #,Word,POS,Tag\nSentence: 1,Ann,NNP,B-PER\n,",",",",O\n,saw,VBD,O\nSentence: 2,Ulm,NNP,B-LOC\n'
    )
    filled_down += ",.,.,O\nSentence: 3,Yes,UH,O\n"
    assert read(tmp_path, filled_down, "a.csv") == expected
    assert "sentence from column 'Sentence #'" in capsys.readouterr().err
    rows = [("1", "Ann", "B-PER"), ("1", ",", "O"), ("1", "saw", "O"), ("2", "Ulm", "B-LOC"), ("2", ".", "O")]
    rows.append(("3", "Yes", "O"))
    for header in ("sentence_id\tword\tlabel", "Satz\tWort\tMarke"):
        assert read(tmp_path, "\n".join([header, *map("\t".join, rows)]), "a.tsv") == expected
    turned = "\n".join(["tag;token;sent_id", *(";".join(reversed(row)) for row in rows)])
    assert read(tmp_path, turned, "a.csv") == expected
    assert read(tmp_path, turned, "b.csv", sentence="sent_id", words="token", tags="tag") == expected
    gaps = 'word,tag\nAnn,B-PER\n",",O\nsaw,O\n,\nUlm,B-LOC\n.,O\n,\nYes,O\n'
    assert read(tmp_path, gaps, "a.csv") == expected


def test_a_frame_with_its_index_and_other_columns(tmp_path: Path) -> None:
    rows = [",lemma,pos,prev-iob,sentence_idx,word,tag", "0,a,NN,__START1__,1.0,Ann,B-PER", "1,see,VB,B-PER,1.0,saw,O"]
    rows += ["2,ulm,NN,O,2.0,Ulm,B-LOC", "3,.,.,B-LOC,2.0,.,O"]
    assert read(tmp_path, "\n".join(rows), "a.csv") == [("Ann|saw", "B-PER|O"), ("Ulm|.", "B-LOC|O")]


def test_sentences_that_are_torn_apart(tmp_path: Path) -> None:
    torn = "sentence_id,word,tag\na,Ann,B-PER\nb,Ulm,B-LOC\na,saw,O\n"
    with pytest.raises(
        DataError, match=r"a\.csv:4: sentence 'a' continues here after another one \(it began in line 2\)"
    ):
        read(tmp_path, torn, "a.csv")
    again = "doc,sentence_id,word,tag\nx,1,Ann,B-PER\nx,2,Ulm,B-LOC\ny,1,saw,O\ny,2,her,O\n"
    assert [words for words, _ in read(tmp_path, again, "a.csv")] == ["Ann", "Ulm", "saw", "her"]
    assert len(read(tmp_path, again.replace("doc,", "x,"), "b.csv")) == 4


def test_words_without_ends_of_sentences_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(read(tmp_path, "Ann B-PER\nsaw O\n. O\nUlm B-LOC\n. O\n")) == 1
    assert "all 5 words form one sentence" in capsys.readouterr().err


def test_words_that_hold_nothing_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(tmp_path, "Ann B-PER\n\u200b I-PER\n\nUlm B-LOC\n\u00ad O\n")
    assert "2 words are empty, or have only spaces and invisible characters (lines 2, 5)" in capsys.readouterr().err


def test_what_is_asked(tmp_path: Path) -> None:
    several = "\n".join(f"{word} {tag} {tag.lower()}x" for word, tag in zip("abcdefgh", "XYXYXYXY", strict=True))
    with pytest.raises(DataError, match=r"columns 1 \(X Y\), 2 \(xx yx\) may all be the tags; choose by"):
        read(tmp_path, several)
    assert read_words(written(tmp_path, several)).items[0].label is None  # words are plain, and enough to predict
    with pytest.raises(DataError, match=r"separated by ',' or by ';'"):
        read(tmp_path, "Ann,B;PER\nsaw,O;x\n", "a.csv")
    with pytest.raises(SettingsError, match=r"words=wort: .* has the columns word, tag; did you mean 'word'"):
        read(tmp_path, "word tag\nAnn B-PER\n", words="wort", tags="tag")
    with pytest.raises(SettingsError, match=r"one word a line"):
        read(tmp_path, "Ann B-PER\n", spans="1")


WORDS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=6)
FAMILIES = (["O", "B-PER", "I-PER", "B-LOC"], ["O", "S-PER", "B-LOC", "E-LOC"], ["NN", "VB", "DT", "."], ["O", "PER"])
SENTENCES = st.sampled_from(FAMILIES).flatmap(
    lambda tags: st.lists(
        st.lists(st.tuples(WORDS, st.sampled_from(tags)), min_size=1, max_size=5), min_size=1, max_size=5
    )
)


@settings(max_examples=150, deadline=None)
@given(rows=SENTENCES, mark=st.sampled_from("\t ,;"), first=st.booleans(), number=st.booleans(), header=st.booleans())
def test_whatever_is_written_is_read_back_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[tuple[str, str]]],
    mark: str,
    first: bool,
    number: bool,
    header: bool,
) -> None:
    first &= any("-" in tag for sentence in rows for _, tag in sentence)  # else nothing tells a few words from tags
    lines = ["word tag"] if header else []
    for sentence in rows:
        for place, (word, tag) in enumerate(sentence, 1):
            fields = [tag, word] if first else [word, tag]
            lines.append(mark.join([str(place), *fields] if number else fields))
        lines.append("")
    if header:
        names = ["tag", "word"] if first else ["word", "tag"]
        lines[0] = mark.join(["id", *names] if number else names)
    path = written(tmp_path_factory.mktemp("any"), "\n".join(lines))
    progress.set_quiet(True)
    try:
        found = read_words(path, labelled=True).items
    except BertieError:
        return
    assert [item.words for item in found] == [tuple(word for word, _ in sentence) for sentence in rows]
