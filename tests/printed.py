"""The code blocks that README, CONTRIBUTING and docs print."""

import re
import shlex
from dataclasses import dataclass

from conftest import ROOT

PAGES = tuple(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
)
FENCE = re.compile(r'^( *)```(\w*)(?: +title="([^"]*)")? *\n(.*?)^ *```$', re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the title above it (a file's name, or a remark), and its text."""

    language: str
    title: str
    text: str

    @property
    def file(self) -> str:
        """The file that the block is, or nothing."""
        return self.title if re.fullmatch(r"[\w.-]+", self.title) else ""


def blocks(page: str, *languages: str) -> list[Block]:
    """Return the blocks of a page in these languages, or in any, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [Block(language, title, code) for _, language, title, code in FENCE.findall(text)]
    return [block for block in found if not languages or block.language in languages]


def files(page: str) -> dict[str, str]:
    """Return the files that a page prints, by name."""
    return {block.file: block.text for block in blocks(page) if block.file}


def inline_commands(page: str) -> list[str]:
    """Return the commands of `make` and of the environment that the text of a page names."""
    text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    found = re.findall(r"`((?:[A-Z_]+=\S+ )*(?:make|\.venv/bin/[^`\s]+)\s[^`]+)`", text)
    return [" ".join(command.replace("\\|", "|").split()) for command in found if "…" not in command]


def commands(script: str) -> list[list[str]]:
    """Return the commands of a shell script, each split into words, with its variables set.

    Loops, substitutions, redirections and settings of the environment are taken off.
    """
    variables: dict[str, str] = {}
    found = []
    for line in re.sub(r"\bfor (\w+) in .*?;", r"\1=1;", script.replace("\\\n", " ")).splitlines():
        line = re.sub(r"^eval \"\$\((.*)\)\"$", r"\1", line.strip())
        for part in re.split(r";|&&|\|", re.sub(r"\s#.*|^#.*", "", line)):
            words = shlex.split(re.sub(r"^\s*(do|done)\b|[12]?>\s*\S+", "", part))
            words = [re.sub(r"\$(\w+)", lambda name: variables.get(name[1], name[0]), word) for word in words]
            while words and re.fullmatch(r"\w+=.*", words[0]):
                name, _, value = words.pop(0).partition("=")
                variables[name] = value
            if words:
                found.append(words)
    return found
