"""The texts of a model card that depend on the model's task."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskText:
    """The text of a card for one task."""

    title: str
    pipeline: str
    """The hub's name for the task; empty if the hub has none."""
    loader: str
    """The class of transformers that loads the folder."""
    output: str
    """The attribute of that class's output that holds the predictions."""
    limits: tuple[str, ...]
    item: str = "text"
    """The input of a prediction: text, masked text, pair, question or choices."""


_CLOZE = "It fills in [MASK] tokens and is meant to be fine-tuned; it does not generate text."
_GENERATED = "Generated text may be incoherent or factually wrong."
TASKS = {
    "pretraining": TaskText(
        "A pre-trained BERT encoder", "fill-mask", "AutoModelForPreTraining", "prediction_logits", (_CLOZE,)
    ),
    "sentence_order": TaskText(
        "An encoder pre-trained to predict masked tokens and the order of sentences",
        "fill-mask",
        "AutoModelForPreTraining",
        "prediction_logits",
        (_CLOZE,),
    ),
    "masked_lm": TaskText("A masked language model", "fill-mask", "AutoModelForMaskedLM", "logits", (_CLOZE,)),
    "passages": TaskText(
        "A masked language model also trained to match passages of the same document",
        "fill-mask",
        "AutoModelForMaskedLM",
        "logits",
        (_CLOZE, "The mean of its hidden vectors represents what a text is about; `--task embedding` returns it."),
    ),
    "causal_lm": TaskText(
        "A decoder-only BERT that continues a text",
        "text-generation",
        "AutoModelForCausalLM",
        "",
        (_GENERATED,),
    ),
    "hybrid": TaskText(
        "A BERT that fills in masked tokens and continues texts with the same weights",
        "",  # the hub's fill-mask pipeline would read the predictions one position too late
        "BertLMHeadModel",
        "logits",
        (
            "Its logits at a position predict the next token, so the prediction for a [MASK] is at the position before "
            "it.",
            "Loaded as above, it attends to both sides. Loaded with `is_decoder=True`, it attends to the left side "
            "only, and scores and generates texts.",
            "A class for masked language models also loads it, but reads its predictions at the wrong position.",
        ),
        "masked text",
    ),
    "replaced_token": TaskText(
        "An ELECTRA discriminator",
        "",
        "AutoModelForPreTraining",
        "logits",
        (
            "It predicts for every token whether it was replaced, and is meant to be fine-tuned. The generator that it "
            "was trained with, a small masked language model, is in the folder `generator`.",
        ),
    ),
    "next_sentence": TaskText(
        "A next sentence model",
        "",
        "AutoModelForNextSentencePrediction",
        "logits",
        ("It predicts whether the second text follows the first: 0 means that it does, 1 that it is a random text.",),
        "pair",
    ),
    "classification": TaskText(
        "A BERT text classifier",
        "text-classification",
        "AutoModelForSequenceClassification",
        "logits",
        (
            "It knows no labels but its own: every text gets one of them, whatever it is about.",
            "Its probabilities were not calibrated.",
        ),
    ),
    "regression": TaskText(
        "A BERT model that predicts a number for a text",
        "text-classification",
        "AutoModelForSequenceClassification",
        "logits",
        ("Its predictions are on the scale of its training table and may lie slightly outside of it.",),
    ),
    "tagging": TaskText(
        "A BERT model that tags words",
        "token-classification",
        "AutoModelForTokenClassification",
        "logits",
        ("It knows no tags but its own.", "The tag of a word is the one predicted for its first piece."),
    ),
    "span_classification": TaskText(
        "A BERT model that finds labelled spans, which may overlap",
        "",
        "AutoModel",
        "last_hidden_state",
        (
            "It knows no labels but its own.",
            "It finds no span of more words than its setting `max_span` says.",
            "The class of transformers loads the encoder, without the head that finds the spans.",
        ),
    ),
    "question_answering": TaskText(
        "A BERT model that finds answers in a text",
        "question-answering",
        "AutoModelForQuestionAnswering",
        "start_logits",
        ("An answer is a span of the given text; the model does not phrase answers of its own.",),
        "question",
    ),
    "multiple_choice": TaskText(
        "A BERT model that chooses how a text continues",
        "multiple-choice",
        "AutoModelForMultipleChoice",
        "logits",
        ("It always chooses one of the choices, even if none is right.",),
        "choices",
    ),
    "generation": TaskText(
        "A BERT encoder and decoder that generate a text from a text",
        "text2text-generation",
        "EncoderDecoderModel",
        "",
        (_GENERATED,),
    ),
    "embedding": TaskText(
        "A BERT sentence encoder",
        "sentence-similarity",
        "AutoModel",
        "last_hidden_state",
        (
            "Texts of similar meaning get similar vectors.",
            "The class of transformers returns a vector for each token, before pooling.",
        ),
    ),
    "features": TaskText(
        "A BERT encoder", "feature-extraction", "AutoModel", "last_hidden_state", ("It turns texts into vectors.",)
    ),
}
