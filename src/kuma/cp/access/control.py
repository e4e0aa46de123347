"""Access control: for each action a list of users and a list of groups (``access.static`` of the settings).

A caller may act if its name is in the users or one of its groups is in the groups. With the defaults, which are Kuma's,
only secrets and the issuing of tokens are protected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kuma.core.errors import AccessDenied
from kuma.core.model.kinds import Kind
from kuma.cp.access.user import ADMIN_NAME, AUTHENTICATED, UNAUTHENTICATED, User


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who may do one thing."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def includes(self, user: User) -> bool:
        return user.name in self.users or any(group in self.groups for group in user.groups)


ADMINS: Final = Allowed(users=(ADMIN_NAME,), groups=(ADMIN_NAME,))
EVERYONE: Final = Allowed(groups=(UNAUTHENTICATED, AUTHENTICATED))


@dataclass(frozen=True, slots=True)
class StaticAccess:
    """``access.static`` of the settings. ``write_resources`` is ours."""

    admin_resources: Allowed = ADMINS
    generate_dp_token: Allowed = ADMINS
    generate_user_token: Allowed = ADMINS
    generate_zone_token: Allowed = ADMINS
    view_config_dump: Allowed = EVERYONE
    view_stats: Allowed = EVERYONE
    view_clusters: Allowed = EVERYONE
    control_plane_metadata: Allowed = EVERYONE
    write_resources: Allowed = EVERYONE


class Access:
    """The checks. Each raises ``AccessDenied`` with the text that goes to the caller, or returns."""

    def __init__(self, static: StaticAccess = StaticAccess()) -> None:
        self._static = static

    def check_read(self, user: User, kind: Kind) -> None:
        """Seeing resources of a kind, one or many."""
        if kind.admin_only and not self._static.admin_resources.includes(user):
            raise _no_resource(user, kind)

    def check_write(self, user: User, kind: Kind) -> None:
        """Creating, changing or deleting resources of a kind."""
        allowed = self._static.admin_resources if kind.admin_only else self._static.write_resources
        if not allowed.includes(user):
            raise _no_resource(user, kind)

    def check_history(self, user: User) -> None:
        """The change log, which tells of everybody, and bringing back what it holds."""
        if not self._static.admin_resources.includes(user):
            raise AccessDenied(f'user "{user}" cannot access the change history')

    def check_generate_dataplane_token(self, user: User) -> None:
        if not self._static.generate_dp_token.includes(user):
            raise AccessDenied(f'user "{user}" cannot access generate dataplane token')

    def check_generate_zone_token(self, user: User, zone: str) -> None:
        if not self._static.generate_zone_token.includes(user):
            raise AccessDenied(f"user \"{user}\" cannot access generate zone token for zone '{zone}'")

    def check_generate_user_token(self, user: User) -> None:
        if not self._static.generate_user_token.includes(user):
            raise AccessDenied("action not allowed")

    def check_control_plane_metadata(self, user: User) -> None:
        """``/config`` and what else tells about the control plane itself."""
        if not self._static.control_plane_metadata.includes(user):
            raise AccessDenied(f'user "{user}" cannot access control-plane metadata')

    def check_view_config_dump(self, user: User) -> None:
        _check_envoy_admin(self._static.view_config_dump, user)

    def check_view_stats(self, user: User) -> None:
        _check_envoy_admin(self._static.view_stats, user)

    def check_view_clusters(self, user: User) -> None:
        _check_envoy_admin(self._static.view_clusters, user)


def _check_envoy_admin(allowed: Allowed, user: User) -> None:
    if not allowed.includes(user):
        raise AccessDenied(f'user "{user}" cannot access envoy proxy info')


def _no_resource(user: User, kind: Kind) -> AccessDenied:
    return AccessDenied(f'user "{user}" cannot access the resource of type "{kind.name}"')
