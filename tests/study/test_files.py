"""The configuration's files: what is refused with file and line, and which of two files wins."""

import pytest
import yaml
from conftest import ROOT

from vaepipe.study.files import merge_layers, read_config, read_file
from vaepipe.study.mistakes import ConfigError
from vaepipe.study.study import Study
from vaepipe.study.unused import unused_keys
from vaepipe.study.validation import normal_path

BASE = ROOT / "config.yaml"
REFUSED = {
    "duplicate": (
        "study: [digits]\ntrain: {epochs: 1}\ntrain: {clip: 1}\n",
        "line 3: the key 'train' is there twice, first in line 2",
    ),
    "duplicate below": (
        "train:\n  epochs: 1\n\n  epochs: 2\n",
        "line 4: the key 'epochs' is there twice, first in line 2",
    ),
    "duplicate in braces": ("{train: {epochs: 1, epochs: 2}}", "line 1: the key 'epochs' is there twice"),
    "duplicate in JSON": ('{"train": {"epochs": 1,\n "epochs": 2}}', "the key 'epochs' is there twice"),
    "tab": (
        "study: [digits]\n\ttrain: {epochs: 3}\n",
        "line 2: not a readable YAML file: found character '\\t'",
    ),
    "bracket": ("study: [digits\ntrain: 3\n", "line 2: not a readable YAML file"),
    "empty": ("# nothing yet\n", "is empty"),
    "nothing": ("", "is empty"),
    "list": ("- digits\n", "found a list"),
    "word": ("digits\n", "found 'digits'"),
    "Norway": ("datasets: {no: {kind: folder}}\n", 'line 1: YAML reads the key no as False: write "no"'),
    "number as key": (
        "datasets:\n  2024: {kind: folder}\n",
        'line 2: YAML reads the key 2024 as 2024: write "2024"',
    ),
    "object": ("study: !!python/object:os.system {}\n", "line 1: not a readable YAML file"),
    "two documents": ("study: [digits]\n---\nstudy: [mnist]\n", "not a readable YAML file"),
    "control character": ("study: [dig\x00its]\n", "not a readable YAML file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_meant_is_one_line_with_its_name(tmp_path, case):
    text, words = REFUSED[case]
    (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_file(tmp_path / "my.yaml")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'my.yaml'}") and words in message and "\n" not in message


def test_missing_files_folders_and_other_encodings_are_one_line(tmp_path):
    (tmp_path / "wide.yaml").write_bytes("study: [digits]".encode("utf-16"))
    for path, words in (
        ("none.yaml", "no such file"),
        (".", "s a directory"),
        ("wide.yaml", "not a text in UTF-8"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_file(tmp_path / path)


SAME = {
    "byte order mark": b"\xef\xbb\xbfstudy: [digits]\ntrain: {epochs: 7}\n",
    "carriage returns": b"study: [digits]\r\ntrain: {epochs: 7}\r\n",
    "JSON": b'{"study": ["digits"], "train": {"epochs": 7}}',
    "JSON with tabs": b'{\n\t"study": ["digits"],\n\t"train": {"epochs": 7}\n}',
    "braces": b"{study: [digits], train: {epochs: 7}}",
    "anchors": b"study: [digits]\ntrain: &t {epochs: 7}\n# x: *t\n",
    "document marks": b"---\nstudy: [digits]\ntrain:\n  epochs: 7\n...\n",
}


@pytest.mark.parametrize("case", SAME)
def test_spellings_of_one_content_are_read_alike(tmp_path, case):
    (tmp_path / "my.yaml").write_bytes(SAME[case])
    assert read_file(tmp_path / "my.yaml") == {"study": ["digits"], "train": {"epochs": 7}}


def test_merge_keys_of_yaml_are_no_duplicates(tmp_path):
    (tmp_path / "my.yaml").write_text("train: &t {epochs: 7}\nevaluate: {<<: *t, keep: 2}\n")
    assert read_file(tmp_path / "my.yaml")["evaluate"] == {"epochs": 7, "keep": 2}


@pytest.fixture
def study_of(tmp_path):
    """Return the study of config.yaml and of overlays that are given as text."""

    def read(*texts, last=None):
        paths = [tmp_path / f"{i}.yaml" for i in range(len(texts))]
        for path, text in zip(paths, texts):
            path.write_text(text, encoding="utf-8")
        return Study(read_config([BASE, *paths], last))

    return read


def test_the_top_of_an_overlay_beats_the_defaults_of_a_data_set(study_of):
    study = study_of("study: [digits]\ngrid: {betas: [1, 2], d_z: [3]}\ntrain: {epochs: 7}\n")
    assert [(cell.family, cell.beta, cell.d_z) for cell in study.cells] == [
        ("vae", 1, 3),
        ("beta-vae", 2, 3),
        ("beta-tcvae", 2, 3),
    ]
    own = study.settings["digits"]
    assert (own.train.epochs, own.train.batch_size, own.train.learning_rate) == (7, 64, 0.002)
    assert own.attack.losses == ("latent-kl", "output", "latent-w2") and own.model.likelihood == "gaussian"


WINNERS = {
    "one file, at the top": (["train: {epochs: 7}"], 7, 7),
    "one file, top and data set": (["train: {epochs: 7}\ndatasets: {digits: {train: {epochs: 9}}}"], 7, 9),
    "a later file's top beats a data set": (
        ["datasets: {digits: {train: {epochs: 9}}}", "train: {epochs: 7}"],
        7,
        7,
    ),
    "a later data set": (["train: {epochs: 7}", "datasets: {digits: {train: {epochs: 9}}}"], 7, 9),
    "another key": (["datasets: {digits: {train: {epochs: 9}}}", "train: {clip: 7}"], 30, 9),
    "three files": (
        ["train: {epochs: 3}", "datasets: {digits: {train: {epochs: 9}}}", "train: {epochs: 8}"],
        8,
        8,
    ),
}


@pytest.mark.parametrize("case", WINNERS)
def test_the_last_file_wins_and_in_one_file_the_data_set(study_of, case):
    texts, swissroll, digits = WINNERS[case]
    study = study_of(*texts)
    assert (study.settings["swissroll"].train.epochs, study.settings["digits"].train.epochs) == (
        swissroll,
        digits,
    )


def test_the_command_line_beats_all_files_and_its_texts_are_numbers(study_of):
    # as Snakemake hands --config 'train={epochs: 3}' 'grid={betas: [1, 2]}' device=cpu
    last = {"train": {"epochs": "3"}, "grid": {"betas": ["1", "2"]}, "device": "cpu"}
    study = study_of("datasets: {digits: {train: {epochs: 9}}}\n", last=last)
    own = study.settings["digits"]
    assert (own.train.epochs, own.grid.betas, study.device) == (3, (1, 2), "cpu")


def test_a_later_smoke_study_with_another_number_of_epochs(study_of):
    smoke = (ROOT / "configs/smoke.yaml").read_text(encoding="utf-8")
    assert study_of(smoke).settings["digits"].train.epochs == 5
    assert study_of(smoke, "train: {epochs: 9}\n").settings["digits"].train.epochs == 9


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "configs").glob("*.yaml")))
def test_studies_that_are_published_can_be_run(name, tmp_path, monkeypatch):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/dsprites.npz").touch()  # of those that name a file of the user's
    monkeypatch.chdir(tmp_path)
    config = read_config([BASE, ROOT / "configs" / name])
    study = Study(config)
    assert study.cells and unused_keys(config, study) == []


def test_layers_are_not_changed_by_merging():
    first, second = {"datasets": {"digits": {"train": {"epochs": 9}}}}, {"train": {"epochs": 7}}
    merged = merge_layers([first, second])
    assert merged == {"datasets": {"digits": {"train": {}}}, "train": {"epochs": 7}}
    assert first == {"datasets": {"digits": {"train": {"epochs": 9}}}}


@pytest.mark.parametrize(
    "wrong", ["train: 3", "datasets: 3", "datasets: {digits: 3}", "datasets: {digits: {train: 3}}"]
)
def test_what_is_no_mapping_is_merged_and_refused_afterwards(study_of, wrong):
    with pytest.raises(ConfigError, match="expected a mapping"):
        study_of(*([wrong] if wrong == "train: 3" else [wrong, "train: {epochs: 3}"]))


HINTS = [
    ({"train": {"epochs": "3"}}, "write 3"),
    ({"train": {"epochs": 3.0}}, "write 3"),
    ({"train": {"epochs": "3e2"}}, "write 300"),
    ({"train": {"learning_rate": "1e-3"}}, "write 1.000000e-03"),
    ({"train": {"learning_rate": "1.23456789e-5"}}, "write 1.23456789e-05"),
    ({"train": {"learning_rate": "1.00000001e22"}}, "write 1.00000001e+22"),
    ({"grid": {"betas": ["4", 1]}}, "write 4"),
    ({"attack": {"pairs": "20"}}, "write 20"),
    ({"attack": {"lambdas": ["1e-3"]}}, ""),
    ({"checks": {"transfer": "yes"}}, "write true"),
    ({"checks": {"probe": "off"}}, "write false"),
    ({"train": {"epochs": "2.5"}}, ""),
    ({"train": {"epochs": "-3"}}, ""),
    ({"study": [False]}, "write it in quotes"),
]


@pytest.mark.parametrize(("change", "words"), HINTS, ids=str)
def test_what_a_hint_says_to_write_is_accepted(change, words):
    with pytest.raises(ConfigError) as caught:
        Study(merge_layers([read_file(BASE), change]))
    message = str(caught.value)
    assert words in message and ("write" in message) == bool(words)
    if words.startswith("write ") and "quotes" not in words:
        written = yaml.safe_load(message.rpartition("write ")[2].rstrip(")"))
        ((section, keys),) = change.items()
        ((key, value),) = keys.items()
        corrected = [written, *value[1:]] if isinstance(value, list) else written
        Study(merge_layers([read_file(BASE), {section: {key: corrected}}]))


def test_a_path_has_one_spelling(tmp_path, monkeypatch):
    (tmp_path / "study/photos").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "study")
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("study", "link"):
        monkeypatch.chdir(tmp_path / folder)
        monkeypatch.setenv("PWD", str(tmp_path / folder))  # as a shell does
        for path in (
            "photos",
            "photos/",
            "./photos",
            "x/../photos",
            str(tmp_path / folder / "photos"),
            "~/study/photos",
        ):
            assert normal_path(path) == "photos", (folder, path)
        assert normal_path("../other") == str(tmp_path / "other") and normal_path("~/o") == str(
            tmp_path / "o"
        )


def test_equal_paths_give_equal_specs(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "w.pt").touch()
    (tmp_path / "net.py").touch()
    monkeypatch.chdir(tmp_path)
    specs = set()
    for start in ("", "./", f"{tmp_path}/"):
        model = {
            "entry": f"{start}net.py:load",
            "weights": f"{start}w.pt",
            "dataset": "p",
            "shape": [3, 8, 8],
            "d_z": 4,
        }
        own = {"kind": "folder", "path": f"{start}photos"}
        study = Study({"study": ["p"], "datasets": {"p": own}, "external": {"mine": model}})
        cell = next(cell for cell in study.cells if cell.family == "mine")
        specs.add((study.prepare_spec("p").to_json(), study.model_spec(cell).to_json()))
    assert len(specs) == 1
