"""Make an app of a bundle: a small complete project for a platform, generated for the bundle's task.

A project is the platform's template (``deploy/templates/PLATFORM/project``, with the bundle's facts filled in) and the bundle
itself. Every project has a Makefile: ``make setup`` installs what it needs, ``make test`` puts the bundle's golden raw inputs
through the app and compares the answers, ``make run`` runs it.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from edgeopt import __version__, files
from edgeopt._folders import shipped
from edgeopt.bundle.manifest import Manifest, read_manifest
from edgeopt.bundle.native_tokenizer import unread_part
from edgeopt.bundle.pack import refuse_in_bundle
from edgeopt.bundle.unicode_table import unicode_table
from edgeopt.bundle.verify import need_verified
from edgeopt.data.preprocessing import AudioInput, TokenizerInput
from edgeopt.device_code import inference, inference_folder
from edgeopt.documents import read_json
from edgeopt.errors import ModelError, RecipeError
from edgeopt.escaping import shell_word
from edgeopt.generate.engine.encoder_decoder import is_encoder_decoder
from edgeopt.generate.opening import KIND

_MARK = re.compile(r"@@([A-Z_]+)@@")
_TEXTS = (
    *("", ".c", ".conf", ".cpp", ".css", ".gradle", ".h", ".hpp", ".html", ".js", ".json", ".kt", ".kts", ".md", ".mjs"),
    *(".pro", ".properties", ".py", ".raucm", ".service", ".sh", ".toml", ".txt", ".webmanifest", ".xml", ".yaml"),
)
"""Suffixes of templates that are texts."""
_WORDS = set(
    "abstract as assert boolean break byte case catch char class const continue default do double else enum extends false "  # noqa: SIM905
    "final finally float for fun goto if implements import in instanceof int interface is long native new null object package "
    "private protected public return short static strictfp super switch synchronized this throw throws transient true try "
    "typealias typeof val var void volatile when while".split()
)
"""Words of Java and Kotlin that name no package."""
_NORMALIZER = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
"""What a project reads of BERT's normalizer."""


class Platform(StrEnum):
    """Platforms that have a template."""

    PYTHON = "python"
    SERVE = "serve"
    DOCKER = "docker"
    CPP = "cpp"
    WEB = "web"
    NODE = "node"
    ANDROID = "android"
    LINUX = "linux"


@dataclass(frozen=True)
class _Layout:
    """Templates of a project, later ones over earlier ones, and where the bundle, the page and the code `inference` go."""

    templates: tuple[str, ...]
    bundle: str = "bundle"
    page: str | None = None
    code: str | None = None
    taken: tuple[str, ...] = ()
    """Files of other templates."""


_LAYOUTS: Mapping[Platform, _Layout] = {
    Platform.PYTHON: _Layout(("python",), "app/bundle", code="app/inference"),
    Platform.SERVE: _Layout(("serve",), page="server/static", code="inference"),
    Platform.DOCKER: _Layout(("serve", "docker"), page="server/static", code="inference"),
    Platform.CPP: _Layout(("cpp",)),
    Platform.WEB: _Layout(("javascript", "web"), page="."),
    Platform.NODE: _Layout(("javascript", "node")),
    Platform.ANDROID: _Layout(("android",), bundle="app/src/main/assets/bundle"),
    Platform.LINUX: _Layout(("serve", "linux"), page="server/static", code="inference"),
}
_TOKENIZER = ("javascript/project/text.mjs", "javascript/project/tokenizer.mjs")
_LANGUAGE_MODELS: Mapping[Platform, _Layout] = {
    Platform.WEB: _Layout(
        ("web", "language", "web-language"), taken=(*_TOKENIZER, "web/bundle.mjs", "chat/page.css", "chat/page.mjs")
    ),
    Platform.NODE: _Layout(("language", "node-language"), taken=_TOKENIZER),
}
"""For language models; other platforms have none."""
_DECODED = (*_TOKENIZER, "javascript/project/audio.mjs", "language/project/generate.mjs", "web/bundle.mjs")
_ENCODER_DECODERS: Mapping[Platform, _Layout] = {
    Platform.WEB: _Layout(("web", "encoder-decoder", "web-encoder-decoder"), page=".", taken=_DECODED),
    Platform.NODE: _Layout(("node", "encoder-decoder"), taken=_DECODED),
}
"""For encoder-decoders: a text or a recording in, a text out, as with the models of `_LAYOUTS`."""
_SOURCES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "text2text-generation": ("text", ("One, two, three, four,",)),
    "automatic-speech-recognition": ("audio", ("BUNDLE/example.wav",)),
}
"""What an encoder-decoder reads, and an example of it, by task."""
_UNICODE = {Platform.CPP: "unicode.txt", Platform.ANDROID: "app/src/main/assets/unicode.txt"}
_NATIVE_TYPES = frozenset(("float32", "float64", "int8", "uint8", "int32", "int64", "bool"))
"""Types of tensors that the C++ makes and reads (``ort.hpp``)."""
_PERMISSIONS = {
    "image": """\
    <uses-permission android:name="android.permission.CAMERA" />
    <uses-feature android:name="android.hardware.camera" android:required="false" />
    <uses-feature android:name="android.hardware.camera.autofocus" android:required="false" />
""",
    "audio": '    <uses-permission android:name="android.permission.RECORD_AUDIO" />\n',
}
"""What an Android app asks for, by kind of raw input."""
_WAYS = {
    Platform.PYTHON: "one answer on the command line",
    Platform.SERVE: "serve it on 127.0.0.1:8000",
    Platform.DOCKER: "build the image and serve it",
    Platform.CPP: "one answer from the C++ program",
    Platform.WEB: "open the page on 127.0.0.1:8080",
    Platform.NODE: "one answer from Node",
    Platform.ANDROID: "install it on a connected phone; without the SDK, one answer from its native code",
    Platform.LINUX: "serve it from the current slot",
}


@dataclass(frozen=True)
class Project:
    """A generated project: its folder, its files (sorted), and the commands to go on with."""

    path: Path
    platform: Platform
    files: tuple[str, ...]
    commands: tuple[str, ...]


def deploy_bundle(bundle: Path, platform: Platform, *, output: Path) -> Project:
    """Write a project for `platform` around the bundle in the folder `bundle` to the folder `output`.

    A project that is there is replaced; what `make` left in it goes, too.

    Raises:
        ModelError: `bundle` is no bundle, does not verify, or the platform cannot run it.
        RecipeError: `output` holds something else, or lies in the bundle.
    """
    output = output if output.name else output.resolve()
    need_verified(bundle)
    manifest = read_manifest(bundle)
    _refuse(manifest, bundle, platform)
    _refuse_foreign(output, bundle)
    with files.disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        files.remove_leftovers(output)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=files.aside_prefix(output), suffix=".part") as parent:
            aside = Path(parent) / output.name
            _write_project(aside, bundle, platform, manifest)
            if output.exists():
                shutil.rmtree(output)
            aside.replace(output)
    names = sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())
    commands = tuple(f"make -C {shell_word(str(output))} {target}" for target in ("setup", "test", "run"))
    return Project(output, platform, tuple(names), commands)


def _write_project(aside: Path, bundle: Path, platform: Platform, manifest: Manifest) -> None:
    """Write the files of a project around a bundle to the folder `aside`."""
    facts = project_facts(manifest, bundle)
    layout = _layouts(manifest, bundle)[platform]
    for template in layout.templates:
        _fill(shipped("deploy") / "templates" / template / "project", aside, facts)
    for file in layout.taken:
        shutil.copyfile(shipped("deploy") / "templates" / file, aside / Path(file).name)
    if platform is Platform.ANDROID:
        native = shipped("deploy") / "templates" / "cpp" / "project"
        _fill(native / "src", aside / "app/src/main/cpp", facts)
        for source, place in (("library.py", aside), ("CMakeLists.txt", aside / "host-build")):
            place.mkdir(exist_ok=True)
            shutil.copyfile(native / source, place / source)
    if platform in (Platform.CPP, Platform.ANDROID):
        _write_unicode(manifest, bundle, aside / _UNICODE[platform])
    if "javascript" in layout.templates:
        shutil.copyfile(shipped("deploy") / "templates" / "web" / "bundle.mjs", aside / "bundle.mjs")
    if layout.page is not None:
        _fill(shipped("deploy") / "templates" / "page", aside / layout.page, facts)
    if layout.code is not None:
        shutil.copytree(inference_folder(), aside / layout.code, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(bundle, aside / layout.bundle)
    (aside / ".edgeopt-project").write_text(json.dumps({"platform": platform.value, "edgeopt": __version__}) + "\n")


def _layouts(manifest: Manifest, bundle: Path) -> Mapping[Platform, _Layout]:
    """Return the platforms that run a bundle's kind of model, with what their projects are made of."""
    if manifest.kind != KIND:
        return _LAYOUTS
    return _ENCODER_DECODERS if is_encoder_decoder(bundle) else _LANGUAGE_MODELS


def _write_unicode(manifest: Manifest, bundle: Path, place: Path) -> None:
    """Write what Unicode says of characters, for a program that tokenizes without a Unicode library."""
    steps = manifest.preprocessing
    if isinstance(steps, TokenizerInput):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(unicode_table(_tokenizer(steps, bundle)), encoding="utf-8")


def next_commands(project: Project) -> Iterator[str]:
    """Yield the next commands, each with what it does."""
    golden = "golden tokens" if "generate.mjs" in project.files else "golden raw inputs"
    says = ("install what it needs", f"{golden} through the app itself", _WAYS[project.platform])
    for command, what in zip(project.commands, says, strict=True):
        yield f"{command:<40}  # {what}"


def _refuse(manifest: Manifest, bundle: Path, platform: Platform) -> None:
    """Raise an error where the platform's code cannot prepare what the model takes."""
    layouts = _layouts(manifest, bundle)
    if platform not in layouts:
        raise ModelError(
            f"{bundle}: edgeopt deploy makes projects of language models for {' and '.join(layouts)} alone; the program in the "
            "bundle runs it in Python, and edgeopt serve puts it behind an HTTP API"
        )
    steps = manifest.preprocessing
    native = platform in (Platform.CPP, Platform.ANDROID)
    if native and manifest.decoding == "text":
        raise ModelError(f"{bundle}: the {platform} template does not turn tokens into text; python, serve, node and web do")
    other = next((one for one in (*manifest.inputs, *manifest.outputs) if one.dtype not in _NATIVE_TYPES), None)
    if native and other is not None:
        raise ModelError(
            f"{bundle}: '{other.name}' is {other.dtype}, and the {platform} template has {', '.join(sorted(_NATIVE_TYPES))}; "
            "python and serve have all types"
        )
    if native and isinstance(steps, TokenizerInput) and (part := unread_part(_tokenizer(steps, bundle))) is not None:
        raise ModelError(f"{bundle}: the {platform} template does not read {part}; python, serve, node and web may")


def _tokenizer(steps: TokenizerInput, bundle: Path) -> dict[str, Any]:
    """Return the contents of the bundle's tokenizer file.

    Raises:
        ModelError: it lacks what a project reads of it.
    """
    settings = read_json(bundle / steps.file, error=ModelError, what="a tokenizer")
    try:
        wordpiece = inference("text").is_wordpiece(settings)
        whole = not wordpiece or set(settings["normalizer"]) >= {*_NORMALIZER}
        unread_part(settings)
    except (AttributeError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise ModelError(f"{bundle / steps.file}: not a whole tokenizer.json; copy the model's again")
    return dict(settings)


def _refuse_foreign(output: Path, bundle: Path) -> None:
    refuse_in_bundle(output)
    if output.resolve() == bundle.resolve():
        raise RecipeError(f"{output}: is the bundle; give another folder")
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise RecipeError(f"{output}: exists and is not a folder; give another")
    if output.is_dir() and any(output.iterdir()) and not (output / ".edgeopt-project").is_file():
        raise RecipeError(f"{output}: holds files that edgeopt deploy did not write; give another folder")


def project_facts(manifest: Manifest, bundle: Path) -> dict[str, str]:
    """Return what templates are filled with, by mark."""
    steps, name = manifest.preprocessing, manifest.name
    slug = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "model"
    packages = ["numpy", f"onnxruntime>={manifest.model.minimum_onnxruntime or '1.20'}"]
    kind, example = {"image": "image", "tokenizer": "text", "audio": "audio"}.get(steps.kind, "array"), manifest.first_raw
    if manifest.kind == KIND:
        kind, example = _SOURCES.get(manifest.task, (kind, example))
    if kind == "image":
        packages.append("pillow")
    own_tokenizer = not isinstance(steps, TokenizerInput) or inference("text").is_wordpiece(_tokenizer(steps, bundle))
    packages += [] if own_tokenizer else ["tokenizers"]
    return {
        "NAME": re.sub(r"[^\w .,+()-]", " ", name),
        "SLUG": slug,
        "IDENT": _identifier(slug),
        "TASK": re.sub(r"[^\w-]", " ", manifest.task),
        "KIND": kind,
        "PERMISSIONS": _PERMISSIONS.get(kind, ""),
        "PAIR": "true" if isinstance(steps, TokenizerInput) and steps.pair else "false",
        "REQUIREMENTS": "\n".join(packages),
        "TOKENIZERS": "false" if own_tokenizer else "true",
        "EXAMPLE": _example(example),
        "EDGEOPT": __version__,
        "RATE": str(steps.rate if isinstance(steps, AudioInput) else 16000),
        "HASH": files.sha256(bundle / "SHA256SUMS")[:16],
    }


def _identifier(slug: str) -> str:
    """Return a name as a part of a package of Java and Kotlin: it begins with a letter and is none of their words."""
    plain = re.sub("[^a-z0-9]", "", slug)
    return plain if plain and plain[0].isalpha() and plain not in _WORDS else f"model{plain}"


def _example(words: Sequence[str]) -> str:
    """Return a raw input as arguments of a shell command in a Makefile; the path of a file begins with BUNDLE."""
    plain = ("".join(char if char.isprintable() else " " for char in word) for word in words)
    return " ".join("'" + word.replace("'", "'\\''").replace("$", "$$") + "'" for word in plain)


def _fill(template: Path, folder: Path, facts: Mapping[str, str]) -> None:
    """Copy a template into `folder` with its marks filled in."""
    for path in sorted(template.rglob("*")):
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        name = path.relative_to(template).as_posix().replace("dot_", ".").replace("IDENT", facts["IDENT"])
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in _TEXTS:
            text = path.read_text(encoding="utf-8")
            place.write_text(_MARK.sub(lambda mark: facts[mark[1]], text), encoding="utf-8")
        else:
            shutil.copyfile(path, place)
        if path.suffix == ".sh" or path.name == "gradlew":
            place.chmod(0o755)
