"""How tokens are issued and checked; the parts that user, dataplane and zone tokens have in common."""

from __future__ import annotations

from kuma.cp.config.fields import Section, section, setting


class PublicKey(Section):
    """A key that checks tokens issued elsewhere: inline PEM or a file, exactly one of both."""

    kid: str = setting("")
    key: str = setting("")
    key_file: str = setting("")


class MeshedPublicKey(PublicKey):
    """The same for tokens of one mesh; without a mesh, of all."""

    mesh: str = setting("")


class Validator(Section):
    """Where the keys come from that check user and zone tokens."""

    use_secrets: bool = setting(True)
    public_keys: tuple[PublicKey, ...] = setting((), file_only=True)


class MeshedValidator(Section):
    """Where the keys come from that check dataplane tokens."""

    use_secrets: bool = setting(True)
    public_keys: tuple[MeshedPublicKey, ...] = setting((), file_only=True)


class UserTokens(Section):
    """``apiServer.authn.tokens``."""

    bootstrap_admin_token: bool = setting(True)
    enable_issuer: bool = setting(True)
    validator: Validator = section(Validator)


class DpTokens(Section):
    """``dpServer.authn.dpProxy.dpToken``."""

    enable_issuer: bool = setting(True)
    validator: MeshedValidator = section(MeshedValidator)


class ZoneTokens(Section):
    """``dpServer.authn.zoneProxy.zoneToken``."""

    enable_issuer: bool = setting(True)
    validator: Validator = section(Validator)
