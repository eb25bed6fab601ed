"""With what a command signs: the installation's own key, for whoever may read it."""

from celadon.cli.faults import CommandError
from celadon.cli.target import Target
from celadon.client.signatures import KeyFileError, Signer, SigningSettings
from celadon.stack.access import signer_of


def signer_for(target: Target) -> Signer | None:
    """Return the signer of the Celadon that is meant, or ``None`` when this command has no key of it.

    ``CELADON_SIGNING_KEY_FILE`` names the key; a local stack has one in its data directory, for its owner alone.

    Raises:
        CommandError: the file that is named holds no key.

    """
    try:
        named = SigningSettings().signer()
        if named is not None:
            return named
        return None if target.stack is None else signer_of(target.stack)
    except KeyFileError as error:
        raise CommandError(f"commands cannot be signed: {error}") from error
