"""What the counts of a corpus mean for pre-training: findings, each with what to do about it."""

from bertie.corpus.findings import Finding
from bertie.corpus.plain_text import Separator
from bertie.corpus.survey import CorpusSurvey

_MANY_ONE_SENTENCE_DOCUMENTS = 0.5
_MANY_DUPLICATE_LINES, _MANY_DUPLICATE_DOCUMENTS = 0.2, 0.01
_MANY_NON_LETTERS = 0.3
_MANY_HEADINGS, _MANY_TAGS = 0.3, 0.01
_MANY_UNKNOWN = 0.01
_MANY_RANDOM = 0.6
_LONG_SENTENCE = 5_000
_LEAST_DOCUMENTS = 2


def advise(survey: CorpusSurvey, *, separator: Separator, random_share: float | None) -> list[Finding]:
    """Judge what was counted.

    Args:
        survey: of all files together.
        separator: what parted documents in .txt files.
        random_share: expected share of pairs whose second text is random; None where no pairs can be made.

    Returns:
        What reading found, and what the counts mean.
    """
    counts = survey.counts
    found = list(survey.findings)
    if counts.documents:
        found += [*_documents(survey, separator, random_share), *_duplicates(survey), *_text(survey)]
    return found


def _documents(survey: CorpusSurvey, separator: Separator, random_share: float | None) -> list[Finding]:
    counts, found = survey.counts, []
    by_blank_line = separator == "blank-line"
    if counts.documents < _LEAST_DOCUMENTS:
        remedy = "put an empty line between documents, or pre-train with --task masked_lm"
        what = "there is a single document; next sentence prediction takes random sentences from another one"
        found.append(Finding("warning", what, "", remedy))
    share = counts.one_sentence_documents / counts.documents
    if share > _MANY_ONE_SENTENCE_DOCUMENTS:
        remedy = "if each .txt file is one document, say --documents file; else join sentences to documents"
        what = f"{share:.0%} of the documents have a single sentence, which makes no true next pair"
        found.append(Finding("warning", what, "", remedy if by_blank_line else "join sentences to documents"))
    if random_share is not None and random_share > _MANY_RANDOM:
        what = f"about {random_share:.0%} of the pairs will be random, for chunks of one sentence always are"
        found.append(Finding("warning", what, "", "longer documents, or a larger --length, bring it nearer to 50 %"))
    if counts.empty_documents:
        found.append(Finding("note", f"{counts.empty_documents:,} documents hold no text and are left out", ""))
    return found


def _duplicates(survey: CorpusSurvey) -> list[Finding]:
    counts, found = survey.counts, []
    if survey.duplicate_documents:
        share = survey.duplicate_documents / counts.documents
        severe = share > _MANY_DUPLICATE_DOCUMENTS
        what = f"{survey.duplicate_documents:,} of {counts.documents:,} documents ({share:.1%}) copy others exactly"
        found.append(
            Finding("warning" if severe else "note", what, "", "remove the copies: what repeats is learned by heart")
        )
    if survey.duplicate_lines:
        share = survey.duplicate_lines / counts.lines
        examples = "; ".join(f"{line!r} {count:,} times" for line, count in survey.most_repeated)
        what = f"{survey.duplicate_lines:,} of {counts.lines:,} lines ({share:.1%}) occurred before"
        what += f", such as {examples}" if examples else ""
        severe = share > _MANY_DUPLICATE_LINES
        found.append(
            Finding("warning" if severe else "note", what, "", "remove menus, footers and copies" if severe else "")
        )
    return found


def _text(survey: CorpusSurvey) -> list[Finding]:
    counts, found = survey.counts, []
    visible = max(1, counts.characters - counts.spaces)
    if (share := 1 - counts.letters / visible) > _MANY_NON_LETTERS:
        what = f"{share:.0%} of the characters are digits, marks and symbols"
        found.append(Finding("warning", what, "", "look for tables, code and markup, and remove them"))
    if counts.lines_with_tags > _MANY_TAGS * counts.lines:
        what = f"{counts.lines_with_tags:,} lines hold tags such as <br />, which are left alone"
        found.append(Finding("warning", what, "", "strip the markup, or the model learns it"))
    if counts.lines_of_mojibake:
        what = f"{counts.lines_of_mojibake:,} lines look like UTF-8 that was read as Latin-1 (Ã©, â€™)"
        found.append(Finding("warning", what, "", "convert the source once more, from the encoding that it really has"))
    if counts.longest_sentence > _LONG_SENTENCE:
        what = f"the longest sentence has {counts.longest_sentence:,} characters: it may be no sentence"
        found.append(
            Finding("warning", what, counts.longest_where, "look at it: a table, a list, text without full stops?")
        )
    if counts.unknown > _MANY_UNKNOWN * counts.pieces:
        what = f"{counts.unknown / counts.pieces:.1%} of the pieces are [UNK]"
        found.append(Finding("warning", what, "", "is this tokenizer for this language and casing?"))
    if (share := counts.heading_like_lines / counts.lines) > _MANY_HEADINGS:
        what = f"{share:.0%} of the lines are as short as headings"
        found.append(
            Finding("note", what, "", "each is a sentence of its own; remove them if they are titles or menus")
        )
    return found
