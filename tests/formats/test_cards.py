"""The card of a model folder is the folder's own: a link to a file elsewhere is no card."""

from pathlib import Path

from bertie.formats.huggingface import _card


def test_links_of_cards(tmp_path: Path) -> None:
    folder = tmp_path / "models--a--b" / "snapshots" / "123"
    blobs = tmp_path / "models--a--b" / "blobs"
    for place in (folder, blobs):
        place.mkdir(parents=True)
    notes: list[str] = []
    assert _card(folder, notes) == "" and not notes
    card = folder / "README.md"
    card.write_text("own")
    assert _card(folder, notes) == "own" and not notes
    (blobs / "abc").write_text("cached")
    card.unlink()
    card.symlink_to("../../blobs/abc")
    assert _card(folder, notes) == "cached" and not notes
    (tmp_path / "secret").write_text("secret")
    card.unlink()
    card.symlink_to(tmp_path / "secret")
    assert _card(folder, notes) == ""
    assert len(notes) == 1 and "outside the model's folder" in notes[0]
