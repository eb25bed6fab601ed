"""With what a command signs: the installation's own key, for whoever may read it."""

from celadon.cli.faults import CommandError
from celadon.client.signatures import KeyFileError, Signer, SigningSettings


def own_signer() -> Signer | None:
    """Return what ``CELADON_SIGNING_KEY_FILE`` signs with, or ``None`` when this command has no key.

    A local stack that a command speaks to sets the variable to the key in its data directory, for its owner alone.

    Raises:
        CommandError: the file that is named holds no key.

    """
    try:
        return SigningSettings().signer()
    except KeyFileError as error:
        raise CommandError(f"commands cannot be signed: {error}") from error
