import pytest

from kuma.core import errors
from kuma.core.errors import InvalidResource, MeshError, NotFound, Violation
from kuma.cp.server.api.errors import problem_of

OPERATION = "Could not retrieve a resource"


def told(error):
    """What a caller is told."""
    return problem_of(error, OPERATION, lambda: "id-1")


@pytest.mark.parametrize(
    "error, status, title, detail",
    [
        (errors.NotFound("x"), 404, OPERATION, "Not found"),
        (errors.NotFound("x", title="Failed to retrieve Mesh"), 404, "Failed to retrieve Mesh", "Not found"),
        (errors.NoSuchPart("it has a and b"), 404, OPERATION, "it has a and b"),
        (errors.SigningKeyNotFound("no key"), 404, "Signing Key not found", "no key"),
        (errors.InvalidResource([]), 400, OPERATION, "Resource is not valid"),
        (errors.InvalidResource([], detail="Mesh is not found"), 400, OPERATION, "Mesh is not found"),
        (errors.BadRequest("bad request: x"), 400, "Bad Request", "bad request: x"),
        (errors.Unauthenticated("why"), 401, "Invalid authentication data", "Unauthenticated"),
        (errors.AccessDenied("you may not"), 403, "Access Denied", "you may not"),
        (errors.MethodNotAllowed("read only"), 405, "Method not allowed", "read only"),
        (errors.Conflict("someone else"), 409, "Conflict", "someone else"),
        (errors.TooLarge("5 bytes"), 413, "Request is too large", "5 bytes"),
        (errors.StoreUnavailable("down"), 503, "Service unavailable", "down"),
    ],
)
def test_every_deliberate_error_has_its_answer(error, status, title, detail):
    """One table, Kuma's words."""
    problem = told(error)

    assert (problem.status, problem.title, problem.detail, problem.instance) == (status, title, detail, "")


@pytest.mark.parametrize("error", [RuntimeError("secret"), KeyError("secret"), MeshError("not in the table")])
def test_what_nobody_expected_tells_only_its_id(error):
    """The text stays in the log."""
    problem = told(error)

    assert (problem.status, problem.detail, problem.instance) == (500, "Internal Server Error", "id-1")
    assert "secret" not in str(problem.body())


def test_the_body_has_kumas_fields_in_kumas_order():
    """Violations stand under both names; empty lists are left out."""
    with_faults = told(InvalidResource([Violation("a", "b")])).body()

    assert list(with_faults.items()) == [
        ("type", "/std-errors"),
        ("status", 400),
        ("title", OPERATION),
        ("detail", "Resource is not valid"),
        ("invalid_parameters", [{"field": "a", "reason": "b"}]),
        ("details", "Resource is not valid"),
        ("causes", [{"field": "a", "message": "b"}]),
    ]
    assert list(told(NotFound("x")).body()) == ["type", "status", "title", "detail", "details"]
