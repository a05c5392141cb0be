"""The architecture page: its table and picture are those of the package as it is."""

from docs.architecture import IMAGE, PAGE, drawn, floors, imports, picture


def test_the_page_and_the_picture_are_current() -> None:
    message = "run: python docs/architecture.py"
    assert PAGE.read_text(encoding="utf-8") == drawn(), message
    assert IMAGE.read_text(encoding="utf-8") == picture(), message


def test_lines_go_down() -> None:
    floor_of = {room: number for number, row in enumerate(floors()) for room in row}
    arrows = imports(list(floor_of))
    assert arrows["commands", "training"] > 5
    assert [arrow for arrow in arrows if floor_of[arrow[0]] >= floor_of[arrow[1]]] == []
