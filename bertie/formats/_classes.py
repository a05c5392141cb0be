"""The tasks of Hugging Face's classes, by the ends of their names.

A helper of the formats. It needs no torch.
"""

INFERRED = {
    "EncoderDecoderModel": "generation",
    "ForPreTraining": "pretraining",
    "ForMaskedLM": "masked_lm",
    "ForNextSentencePrediction": "next_sentence",
    "ForSequenceClassification": "classification",
    "ForTokenClassification": "tagging",
    "ForQuestionAnswering": "question_answering",
    "ForMultipleChoice": "multiple_choice",
    "LMHeadModel": "causal_lm",
    "Model": "features",
}
"""The task of a class; some architectures give a class another meaning, see `Architecture.tasks`."""


def task_of(kind: str) -> str:
    """Return the task of a class; empty if bertie has none."""
    return next((task for ending, task in INFERRED.items() if kind.endswith(ending)), "")
