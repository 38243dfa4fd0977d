"""Where a target is: the text of the command line, read as a module, its folder and a name in it. Imports nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from chatserve.core.errors import ConfigurationError


class TargetError(ConfigurationError):
    """The target cannot be served as it is; changing its file may help."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a target's module is: its name, the folder it is imported from, its file, and the attribute to serve."""

    module: str
    folder: Path
    attribute: str
    file: Path | None = None

    @property
    def name(self) -> str:
        """What users call it."""
        return self.module if self.file is None else self.file.name

    def has_written(self, filename: str) -> bool:
        """Whether a file is the developer's: in the folder of the target, and no installed package's."""
        path = Path(filename)
        return path.is_relative_to(self.folder) and "site-packages" not in path.parts


def locate(text: str) -> Source:
    """Return where a target is. Raises: TargetError if the file does not exist, or the text is no target."""
    place, _, attribute = text.partition(":")
    if attribute and not all(part.isidentifier() for part in attribute.split(".")):
        raise TargetError(f"target {text!r}: {attribute!r} is not a name; write {place}:app")
    path = Path(place)
    if place.endswith(".py") or os.sep in place or (place and path.is_dir()):
        return _locate_file(text, path, attribute)
    if place and all(part.isidentifier() for part in place.split(".")):
        return Source(place, Path.cwd(), attribute)
    raise TargetError(
        f"target {text!r} is neither a file nor a module; write app.py, pkg.module:app or app.py:function"
    )


def _locate_file(text: str, path: Path, attribute: str) -> Source:
    if path.is_dir():
        raise TargetError(f"target {text!r} is a folder; name a file in it: {path / 'app.py'}")
    if not path.is_file():
        raise TargetError(f"target {text!r}: there is no file {str(path.absolute())!r}")
    path = path.resolve()
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise TargetError(f"target {text!r} cannot be imported; give the file a name like app.py")
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return Source(".".join(names), folder, attribute, path)
