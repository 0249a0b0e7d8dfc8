"""Words that are kept true: what the documents name exists."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import yaml
from pydantic import BaseModel

from lethe.cli import estate, nights, rights, setting_up, versions
from lethe.errors import LetheError
from lethe.gate.proof.report import required_layers
from lethe.nights.saying.events import STEPS
from lethe.params import Params
from lethe.solutions.recipes import RECIPES
from tests.documents import (
    BLOCKS,
    DECISIONS,
    GUIDE,
    PAGES,
    ROOT,
    Block,
    named,
)

COMMANDS = {
    command.name: command
    for module in (setting_up, nights, rights, versions, estate)
    for command in module.COMMANDS
}


def lines(block: Block) -> Iterator[str]:
    yield from (line for line in block.text.splitlines() if line.strip())


def parts(line: str) -> list[list[str]]:
    """The commands of a shell line, split at pipes."""
    words = shlex.split(line, comments=True)
    found: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            found.append([])
        else:
            found[-1].append(word)
    return [command for command in found if command]


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    wanted = {
        word
        for page in PAGES
        for word in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.M)
    }

    assert {"nightly", "test"} <= wanted <= targets


def understood(words: list[str]) -> None:
    """Parse `lethe ...` as the command would, without running it."""
    arguments = words[1:]
    while arguments and arguments[0].startswith("--"):
        arguments = arguments[1 if arguments[0] == "--json" else 2 :]
    assert arguments, f"no command in {' '.join(words)}"
    command: click.Command = COMMANDS[arguments.pop(0)]
    if isinstance(command, click.Group):
        command = command.commands[arguments.pop(0)]
    options = {name for option in command.params for name in option.opts}
    for word in arguments:
        if word.startswith("--"):
            assert word.split("=")[0] in options, f"{word} is no option of {command.name}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in {"bash", "text"}], ids=str)
def test_every_lethe_line_in_a_block_is_a_command_that_exists(block: Block) -> None:
    for line in lines(block):
        for words in parts(line) if re.match(r"\s*(lethe|printf|cp)\b", line) else []:
            if words[0] == "lethe":
                understood(words)


def test_every_lethe_command_in_the_text_exists() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for shown in re.findall(r"`lethe ((?:--\w+ \S+ )?[a-z][^`]*)`", text):
            words = shown.replace("\n", " ").split()
            if words[0].startswith("--"):
                words = words[2:]
            assert words[0] in COMMANDS, f"{named(page)}: lethe {words[0]}"


def documented() -> Iterator[tuple[str, click.Command]]:
    for name, command in COMMANDS.items():
        assert name is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", sub) for inner, sub in command.commands.items())
        else:
            yield name, command


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    missing = [f"lethe {name}" for name, _ in documented() if f"`lethe {name}" not in text]
    missing += [
        f"lethe {name} {option.opts[0]}"
        for name, command in documented()
        for option in command.params
        if isinstance(option, click.Option) and f"`{option.opts[0]}" not in text
    ]

    assert missing == []


def test_every_exit_code_of_an_error_is_documented() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")

    def codes(error: type[LetheError]) -> set[int]:
        return {error.exit_code}.union(*(codes(child) for child in error.__subclasses__()))

    assert all(f"| {code} |" in text for code in codes(LetheError) | {0})


def keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        inner: list[Any] = [field.annotation, *get_args(field.annotation)]
        for kind in inner:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from keys(kind)


def test_every_key_of_the_parameters_is_documented() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    wanted = set(keys(Params)) | {
        name
        for recipe in RECIPES.values()
        if not recipe.baseline
        for name in recipe.hyperparameters.model_fields
    }

    assert {key for key in wanted if not re.search(rf"`[^`]*\b{key}\b[^`]*`", text)} == set()


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language == "yaml" and b.page != GUIDE], ids=str
)
def test_every_yaml_block_is_a_part_of_params_yaml(block: Block) -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))

    Params.model_validate({**document, **yaml.safe_load(block.text)})


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        assert "://" not in target, f"{target}: documents refer to nothing outside"
        file, _, anchor = target.partition("#")
        other = (page.parent / file).resolve() if file else page
        assert other.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", other.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}
            assert anchor in slugs, target


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_is_named_exists() -> None:
    missing = [
        f"{named(page)}: {file}::{name}"
        for page in PAGES
        for file, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", page.read_text(encoding="utf-8"))
        if not (ROOT / file).is_file() or name not in functions_of(ROOT / file)
    ]

    assert missing == []


def test_every_invariant_names_its_test() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.split("## Invariants")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]

    assert len(rows) > 15
    assert [row for row in rows if "::test_" not in row] == []


def test_every_part_of_the_code_that_is_named_exists() -> None:
    for page in PAGES:
        for name in re.findall(r"`((?:lethe|flows)(?:\.\w+)+)`", page.read_text(encoding="utf-8")):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                module, _, attribute = name.rpartition(".")
                assert hasattr(importlib.import_module(module), attribute), f"{page.name}: {name}"


def test_the_steps_are_those_of_a_night_in_their_order() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    picture = (ROOT / "README.md").read_text(encoding="utf-8")

    assert re.findall(r"^\| \d+ (\w+) \|", text, re.M) == list(STEPS)
    for number, step in enumerate(STEPS, start=1):
        assert re.search(rf"\b{number} {step}\b", picture)


def test_the_layers_are_those_that_verification_requires() -> None:
    text = (ROOT / "docs" / "verification.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| (all|ALS) \|$", text, re.M)

    assert tuple(name for name, _ in rows) == required_layers("als")
    assert tuple(name for name, of in rows if of == "all") == required_layers("lightfm")


def test_every_sentence_of_a_refusal_is_one_that_the_code_says() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.split("## What a refusal means")[1].split("\n## ")[0]
    said = "".join(
        re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8"))
        for path in (ROOT / "lethe").rglob("*.py")
    )
    verdicts = ("REFUSED", "INCONCLUSIVE")
    said += "".join(said.replace("{report.verdict.value}", verdict) for verdict in verdicts)
    told = re.findall(r"^\| `([^`]+)` \|", table, re.M)

    assert len(told) > 8
    assert [sentence for sentence in told if sentence not in said] == []


def test_every_decision_is_listed_and_numbered() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")

    for number, page in enumerate(DECISIONS, start=1):
        title = page.read_text(encoding="utf-8").splitlines()[0]
        assert title.startswith(f"# {number}. ")
        assert f"[{number}]({page.name}) | {title.split('. ', 1)[1]}" in index


def test_the_words_stay_plain() -> None:
    """Nothing is called anonymous but in order to deny it, and nothing is sold."""
    sold = re.compile(r"\b(seamless\w*|powerful|cutting.edge|blazing\w*|state.of.the.art)\b", re.I)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not sold.search(text), named(page)
        assert "\N{EM DASH}" not in text, named(page)
        for found in re.finditer(r"anonymous", text):
            assert re.search(r"\bnot\b|never", text[max(0, found.start() - 120) : found.start()])
