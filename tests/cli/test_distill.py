"""`edgeopt distill`: options, samples and scores of the shell; a run on texts of named classes and without labels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.data.samples import Samples
from edgeopt.distill.result import DistillResult, Trial
from edgeopt.models.model_size import ModelSize
from edgeopt.train.epoch import Evaluation
from tests.cli.conftest import edgeopt_here

_WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", "good", "bad", "film", "story", "actor", "very", "a"]


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(_WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", 1), ("[SEP]", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.add_special_tokens(_WORDS[:5])
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    labels = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
    config = transformers.BertConfig(vocab_size=len(_WORDS), **labels, **sizes)
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "teacher")
    tokenizer.save(str(tmp_path / "teacher" / "tokenizer.json"))
    return tmp_path / "teacher"


def test_classes_by_name_and_text_without_labels(teacher: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = ["text,label"]
    for number in range(60):
        word = ("bad", "good")[number % 2]
        rows.append(f"a very {word} {generator.choice(_WORDS[7:10])},{word}")
    (tmp_path / "train.csv").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "more.txt").write_text("a story\na very good actor\n" * 20, encoding="utf-8")
    call = ["distill", str(teacher), "--train", str(tmp_path / "train.csv"), "--evaluate", str(tmp_path / "train.csv")]
    more = ["--unlabelled", str(tmp_path / "more.txt"), "--layers", "1", "--set", "train.epochs=2.0"]
    result = CliRunner().invoke(app, [*call, *more, "-o", str(tmp_path / "student"), "-q"])
    assert result.exception is None, result.output + repr(result.exception)
    assert "accuracy: " in result.output
    assert ", the teacher's 0." in result.output
    config = json.loads((tmp_path / "student" / "config.json").read_text(encoding="utf-8"))
    assert config["num_hidden_layers"] == 1
    assert config["id2label"] == {"0": "bad", "1": "good"}
    assert (tmp_path / "student" / "tokenizer.json").is_file()


RESULT = DistillResult(ModelSize(1_234_567, 4, 8), ModelSize(89_012, 4, 8), 7, (), path=Path("student"))


@pytest.fixture
def asked(teacher: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asks the stage for; `result` is its answer."""
    seen: dict[str, Any] = {"result": RESULT}

    def distill(loaded: Any, samples: Samples, **others: Any) -> DistillResult:
        seen.update(loaded=loaded, samples=samples, **others)
        shutil.copytree("teacher", "student", dirs_exist_ok=True)
        answer: DistillResult = seen["result"]
        return answer

    monkeypatch.setattr("edgeopt.distill.stage.distill", distill)
    monkeypatch.chdir(teacher.parent)
    Path("train.csv").write_text("text,label\ngood film,good\nbad film,bad\na film,good\n", encoding="utf-8")
    Path("more.txt").write_text("a story\n", encoding="utf-8")
    Path("others.txt").write_text("a good actor\na very bad film\n", encoding="utf-8")
    return seen


COMMAND = ("distill", "teacher", "--train", "train.csv", "-o", "student", "-q")


def test_options_and_samples_reach_the_stage(asked: dict[str, Any]) -> None:
    more = ("--unlabelled", "more.txt", "--unlabelled", "others.txt", "--evaluate", "train.csv", "--seed", "5")
    done = edgeopt_here(*COMMAND, *more, "--layers", "0, 1", "--time", "2m", "--set", "loss.temperature=3.0")
    assert done.returncode == 0, done.stderr
    options, session, material = asked["options"], asked["session"], asked["material"]
    assert (options.layers, options.source, options.width) == ([0, 1], None, None)
    assert (options.train.max_seconds, options.train.epochs, options.loss.temperature) == (120.0, 1000.0, 3.0)
    assert (session.seed, asked["output"]) == (5, Path("student"))
    assert len(asked["samples"]) == 3 and len(material.unlabelled) == 3
    assert material.evaluation is not None and material.evaluation.labels.tolist() == [1, 0, 1]
    assert not Path(".student.checkpoint").exists(), "the checkpoint goes when the training is done"


def test_sizes_are_printed_and_scores_where_something_was_evaluated(asked: dict[str, Any]) -> None:
    first, second = edgeopt_here(*COMMAND, "--width", "8").stdout.splitlines()
    assert first == "student: 89,012 parameters, the teacher has 1,234,567"
    assert second.startswith("on 3 training samples, compared with teacher: agreement 1.0000, output error 0.0%, accuracy ")
    evaluations = (Evaluation(10, "accuracy", 0.5), Evaluation(1200, "accuracy", 0.75), Evaluation(1300, "accuracy", 0.7))
    trials = (Trial("distilled", 0, "accuracy", 0.75), Trial("control", 1, "accuracy", 0.625))
    sizes = RESULT.teacher, RESULT.student
    asked["result"] = DistillResult(*sizes, 7, (), evaluations, 0.8125, trials, path=Path("student"), kept_step=1200)
    assert edgeopt_here(*COMMAND, "--width", "8", "--evaluate", "train.csv").stdout.splitlines()[1:] == [
        "accuracy: 0.7500 (step 1,200), the teacher's 0.8125",
        "distilled, seed 0: accuracy 0.7500",
        "control, seed 1: accuracy 0.6250",
        "accuracy: distilled 0.7500, control 0.6250, difference +0.1250",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give either source"),
        (("--layers", "1;2"), "--layers 1;2: write the numbers of the teacher's layers"),
        (("--layers", "1", "--time", "soon"), "--time soon: write a number and s, m or h"),
        (("--layers", "1", "--student", "nets:small"), "give either source"),
        (("--width", "0"), "width"),
        (("--layers", "1", "--set", "trian.epochs=1"), "did you mean 'train'"),
        (("--layers", "1", "--task", "classify"), "task 'classify' is not known"),
    ],
)
def test_what_contradicts_itself_is_one_line(asked: dict[str, Any], arguments: tuple[str, ...], said: str) -> None:
    done = edgeopt_here(*COMMAND, *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert "samples" not in asked
