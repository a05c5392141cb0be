"""Judge the counts of a corpus for pre-training: findings, each with a remedy."""

from bertie.checks.corpus import CorpusSurvey
from bertie.corpus.plain_text import Separator
from bertie.findings import Finding

_MANY_ONE_SENTENCE_DOCUMENTS = 0.5
_MANY_DUPLICATE_LINES, _MANY_DUPLICATE_DOCUMENTS = 0.2, 0.01
_MANY_NON_LETTERS = 0.3
_MANY_HEADINGS, _MANY_TAGS = 0.3, 0.01
_MANY_UNKNOWN = 0.01
_MANY_RANDOM = 0.6
_LONG_SENTENCE = 5_000
_LEAST_DOCUMENTS = 2


def advise(survey: CorpusSurvey, *, separator: Separator, random_share: float | None) -> list[Finding]:
    """Return findings on the counts of a corpus.

    Args:
        survey: the survey of all files.
        separator: the separator of documents in .txt files.
        random_share: expected share of pairs whose second text is random; None if no pairs can be made.

    Returns:
        The findings of the survey itself, and findings on its counts.
    """
    counts = survey.counts
    findings = list(survey.findings)
    if counts.documents:
        findings += [*_documents(survey, separator, random_share), *_duplicates(survey), *_text(survey)]
    return findings


def _documents(survey: CorpusSurvey, separator: Separator, random_share: float | None) -> list[Finding]:
    counts, findings = survey.counts, []
    by_blank_line = separator == "blank-line"
    if counts.documents < _LEAST_DOCUMENTS:
        remedy = "put an empty line between documents, or pre-train with --task masked_lm"
        problem = "there is only one document; next sentence prediction needs random sentences from other documents"
        findings.append(Finding("warning", problem, "", remedy))
    share = counts.one_sentence_documents / counts.documents
    if share > _MANY_ONE_SENTENCE_DOCUMENTS:
        remedy = "if each .txt file is one document, use --documents file; else join sentences into documents"
        problem = f"{share:.0%} of the documents have a single sentence, which has no true next sentence"
        findings.append(Finding("warning", problem, "", remedy if by_blank_line else "join sentences into documents"))
    if random_share is not None and random_share > _MANY_RANDOM:
        problem = f"about {random_share:.0%} of the pairs will be random, because chunks of one sentence always are"
        remedy = "use longer documents or a larger --length to get closer to 50 %"
        findings.append(Finding("warning", problem, "", remedy))
    if counts.empty_documents:
        findings.append(Finding("note", f"{counts.empty_documents:,} documents contain no text and are left out", ""))
    return findings


def _duplicates(survey: CorpusSurvey) -> list[Finding]:
    counts, findings = survey.counts, []
    if survey.duplicate_documents:
        share = survey.duplicate_documents / counts.documents
        severe = share > _MANY_DUPLICATE_DOCUMENTS
        problem = f"{survey.duplicate_documents:,} of {counts.documents:,} documents ({share:.1%}) are exact copies"
        remedy = "remove the copies: the model memorizes repeated text"
        findings.append(Finding("warning" if severe else "note", problem, "", remedy))
    if survey.duplicate_lines:
        share = survey.duplicate_lines / counts.lines
        examples = "; ".join(f"{line!r} {count:,} times" for line, count in survey.most_repeated)
        problem = f"{survey.duplicate_lines:,} of {counts.lines:,} lines ({share:.1%}) repeat earlier ones"
        problem += f", such as {examples}" if examples else ""
        severe = share > _MANY_DUPLICATE_LINES
        findings.append(
            Finding("warning" if severe else "note", problem, "", "remove menus, footers and copies" if severe else "")
        )
    return findings


def _text(survey: CorpusSurvey) -> list[Finding]:
    counts, findings = survey.counts, []
    visible = max(1, counts.characters - counts.spaces)
    if (share := 1 - counts.letters / visible) > _MANY_NON_LETTERS:
        problem = f"{share:.0%} of the characters are digits, punctuation and symbols"
        findings.append(Finding("warning", problem, "", "look for tables, code and markup, and remove them"))
    if counts.lines_with_tags > _MANY_TAGS * counts.lines:
        problem = f"{counts.lines_with_tags:,} lines contain tags such as <br />, which are not removed"
        findings.append(Finding("warning", problem, "", "remove the markup, or the model will learn it"))
    if counts.lines_of_mojibake:
        problem = f"{counts.lines_of_mojibake:,} lines look like UTF-8 that was read as Latin-1 (Ã©, â€™)"
        findings.append(Finding("warning", problem, "", "convert the source again, from its actual encoding"))
    if counts.longest_sentence > _LONG_SENTENCE:
        problem = f"the longest sentence has {counts.longest_sentence:,} characters, so it may not be a sentence"
        remedy = "check whether it is a table, a list or unpunctuated text"
        findings.append(Finding("warning", problem, counts.longest_where, remedy))
    if counts.unknown > _MANY_UNKNOWN * counts.pieces:
        problem = f"{counts.unknown / counts.pieces:.1%} of the pieces are [UNK]"
        findings.append(Finding("warning", problem, "", "check that the tokenizer fits the language and casing"))
    if (share := counts.heading_like_lines / counts.lines) > _MANY_HEADINGS:
        problem = f"{share:.0%} of the lines are as short as headings"
        findings.append(
            Finding("note", problem, "", "each counts as a sentence; remove them if they are titles or menus")
        )
    return findings
