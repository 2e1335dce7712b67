"""What was found of a module is taken again for the same source only."""

import json

import pytest

from vaepipe.storage import kept_meanings
from vaepipe.storage.code_meaning import find_meaning
from vaepipe.storage.kept_meanings import PATH, KeptMeanings

SOURCE = "import a.b, c\nfrom ..d import e as f\nfrom g import h\nx = f(h(a, c), 'two words')  # why\n"


def find(source, texts=False):
    """What a process of its own finds."""
    kept = KeptMeanings()
    meaning = kept.find("stages.train", source, texts)
    kept.save()
    return meaning


@pytest.fixture
def read(tmp_path, monkeypatch):
    """(source, texts) of what was read."""
    read = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        kept_meanings, "find_meaning", lambda *given: (read.append(given), find_meaning(*given))[1]
    )
    return read


def test_it_is_what_the_source_says_and_is_read_once_where_there_is_a_study(read):
    assert find(SOURCE) == find(SOURCE) == find_meaning(SOURCE, False) and len(read) == 2
    PATH.parent.mkdir()
    for _ in range(3):
        assert [find(SOURCE, texts) for texts in (False, True)] == [
            find_meaning(SOURCE, texts) for texts in (False, True)
        ]
    assert read[2:] == [(SOURCE, False), (SOURCE, True)]
    other = SOURCE.replace("f(h", "h(f")
    assert find(other) == find_meaning(other, False) != find(SOURCE)


@pytest.mark.parametrize("content", ["", "[]", "[1]", "{", '{"stages.train False": 3}', "\0", "null"])
def test_a_damaged_file_is_read_over(read, content):
    PATH.parent.mkdir()
    PATH.write_text(content)
    assert find(SOURCE) == find_meaning(SOURCE, False) and json.loads(PATH.read_text())


def test_other_rules_read_anew(read, tmp_path, monkeypatch):
    PATH.parent.mkdir()
    find(SOURCE)
    rules = tmp_path / "rules.py"
    rules.write_text("")
    monkeypatch.setattr(kept_meanings.code_meaning, "__file__", str(rules))
    find(SOURCE)
    assert len(read) == 2
