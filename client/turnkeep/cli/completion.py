"""`turnkeep completion`: what makes a shell complete the command's words."""

import os
from pathlib import Path

import click

_SHELLS = ("bash", "zsh", "fish")
_WHERE = {
    "bash": 'eval "$(turnkeep completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(turnkeep completion zsh)"  in ~/.zshrc',
    "fish": "turnkeep completion fish | source  in ~/.config/fish/config.fish",
}


@click.command(epilog="\b\n" + "\n".join(_WHERE.values()))
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print the script that makes a shell complete turnkeep's words.

    Without a name it is for the shell that $SHELL names.
    """
    from click.shell_completion import get_completion_class

    name = shell or Path(os.environ.get("SHELL", "")).name
    made = get_completion_class(name)
    if made is None or name not in _SHELLS:
        raise click.UsageError(f"say for which shell: {', '.join(_SHELLS)}")
    root = ctx.find_root()
    click.echo(made(root.command, {}, "turnkeep", "_TURNKEEP_COMPLETE").source())
