"""Who may do what, and the words of a refusal."""

import pytest

from kuma.core.errors import AccessDenied
from kuma.core.model.kinds import BY_NAME
from kuma.cp.access.control import ADMINS, Access, Allowed, StaticAccess
from kuma.cp.access.user import ADMIN, ANONYMOUS, User

JOHN = User.authenticated("john", ("team-a",))
CHECKS = {
    "admin_resources": (
        lambda access, user: access.check_read(user, BY_NAME["Secret"]),
        'user "{user}" cannot access the resource of type "Secret"',
    ),
    "generate_dp_token": (
        Access.check_generate_dataplane_token,
        'user "{user}" cannot access generate dataplane token',
    ),
    "generate_zone_token": (
        lambda access, user: access.check_generate_zone_token(user, "east"),
        "user \"{user}\" cannot access generate zone token for zone 'east'",
    ),
    "generate_user_token": (Access.check_generate_user_token, "action not allowed"),
    "control_plane_metadata": (
        Access.check_control_plane_metadata,
        'user "{user}" cannot access control-plane metadata',
    ),
    "view_config_dump": (Access.check_view_config_dump, 'user "{user}" cannot access envoy proxy info'),
    "view_stats": (Access.check_view_stats, 'user "{user}" cannot access envoy proxy info'),
    "view_clusters": (Access.check_view_clusters, 'user "{user}" cannot access envoy proxy info'),
    "write_resources": (
        lambda access, user: access.check_write(user, BY_NAME["Mesh"]),
        'user "{user}" cannot access the resource of type "Mesh"',
    ),
}


@pytest.mark.parametrize("action", CHECKS)
def test_each_action_is_for_those_its_setting_names(action):
    """By name or by group; everyone else is told who they are and what they may not do."""
    check, words = CHECKS[action]
    for allowed in (Allowed(users=("john",)), Allowed(groups=("team-a",))):
        access = Access(StaticAccess(**{action: allowed}))
        check(access, JOHN)
        with pytest.raises(AccessDenied) as caught:
            check(access, ANONYMOUS)
        assert str(caught.value) == words.format(user="mesh-system:anonymous/mesh-system:unauthenticated")


@pytest.mark.parametrize("user", [ANONYMOUS, JOHN, ADMIN], ids=str)
def test_by_default_only_secrets_and_tokens_are_protected(user):
    """Kuma's defaults, which its users' scripts rely on."""
    access = Access()
    for action, (check, _) in CHECKS.items():
        protected = action.startswith(("admin", "generate"))
        if protected and user is not ADMIN:
            with pytest.raises(AccessDenied):
                check(access, user)
        else:
            check(access, user)
    access.check_read(user, BY_NAME["Mesh"])


def test_closing_writes_leaves_reading_open():
    """One setting makes the API read-only for everyone but those it names."""
    access = Access(StaticAccess(write_resources=ADMINS))
    access.check_read(ANONYMOUS, BY_NAME["Mesh"])
    access.check_write(ADMIN, BY_NAME["Mesh"])
    with pytest.raises(AccessDenied):
        access.check_write(JOHN, BY_NAME["Mesh"])


def test_the_right_to_write_does_not_open_secrets():
    """Secrets have their own setting, for every verb."""
    access = Access(StaticAccess(write_resources=Allowed(users=("john",))))
    for kind in ("Secret", "GlobalSecret"):
        for check in (access.check_read, access.check_write):
            with pytest.raises(AccessDenied):
                check(JOHN, BY_NAME[kind])


def test_a_verified_user_is_in_the_group_of_all_verified_users():
    """Once, also where the token claims it."""
    assert str(User.authenticated("a", ("mesh-system:authenticated", "b"))) == "a/b,mesh-system:authenticated"
