"""The commands. Each reads its options and hands over; a wrong option or target becomes one line and exit code 2."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import click

from chatserve.cli.description import check_lines
from chatserve.cli.launch import Launch, load_with_settings
from chatserve.cli.launch import run as run_launch
from chatserve.cli.logs import clean
from chatserve.cli.options import chat_options, given_settings, server_options, setting_options
from chatserve.cli.reload import develop
from chatserve.cli.target import CHAT_OPTIONS
from chatserve.core.errors import ConfigurationError

MISUSED: Final = 2
INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    try:
        code = cli.main(
            args=None if arguments is None else list(arguments), prog_name="chatserve", standalone_mode=False
        )
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return MISUSED
    except click.ClickException as error:
        return refuse(f"{error.format_message()}{_help_hint(error)}")
    except ConfigurationError as error:
        return refuse(error.detail)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def refuse(message: str) -> int:
    """Print in one line why a command is refused; return its exit code."""
    click.echo(f"chatserve: {clean(message)}", err=True)
    return MISUSED


def _help_hint(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return "" if context is None else f" (see {context.command_path} --help)"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="chatserve")
def cli() -> None:
    """Your chat function, as a durable HTTP service."""


@cli.command()
@click.argument("target")
@server_options
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, envvar="CHATSERVE_WORKERS", help="number of processes"
)
@chat_options
@setting_options
def run(target: str, workers: int, **options: Any) -> None:
    """Serve TARGET: app.py, app.py:name or pkg.module:name."""
    run_launch(Launch.from_options(target, options), workers=workers)


@cli.command()
@click.argument("target")
@server_options
@chat_options
@setting_options
def dev(target: str, **options: Any) -> int:
    """Serve TARGET while you write it: reload on change, show errors.

    Listens on this machine only, and shows clients the texts of errors, which run writes to the log alone.
    """
    return develop(Launch.from_options(target, options))


@cli.command()
@click.argument("target")
@chat_options
@setting_options
def check(target: str, **options: Any) -> None:
    """Tell what TARGET would serve and with which settings, or why not."""
    given = given_settings(options)
    chat = {name: options[name] for name in CHAT_OPTIONS}
    for line in check_lines(load_with_settings(target, given, chat), given, os.environ):
        click.echo(line)
