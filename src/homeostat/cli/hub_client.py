"""Talking to the hub over HTTP, with its refusals turned back into our errors."""

import re
from typing import TYPE_CHECKING, Any

from homeostat.cli.place import Place
from homeostat.core import errors
from homeostat.core.error_table import FAMILIES

if TYPE_CHECKING:
    import httpx

_ID = re.compile(r"[A-Za-z0-9-]{1,80}")

_BY_LABEL = {family.label: kind for kind, family in FAMILIES.items()}
_BY_STATUS: dict[int, type[errors.HomeostatError]] = {
    400: errors.InvalidInput,
    401: errors.NotPermitted,
    403: errors.NotPermitted,
    404: errors.NotFound,
    405: errors.Bug,
    409: errors.Conflict,
    413: errors.InvalidInput,
    429: errors.Unavailable,
    500: errors.Bug,
    502: errors.Unavailable,
    503: errors.Unavailable,
    504: errors.OutcomeUnknown,
}


class HubClient:
    """One hub. Every method raises the error that the hub answered with, or says what became of the call."""

    def __init__(self, place: Place, *, token: str | None = None, timeout_s: float = 120.0) -> None:
        import httpx  # takes a quarter of a second to import: only where a hub is called

        self.url = place.hub_url()
        self._http = httpx.Client(
            base_url=self.url,
            timeout=timeout_s,
            limits=httpx.Limits(max_keepalive_connections=0),  # a command ends without closing anything
            trust_env=False,  # a proxy would read the token
            # Plain HTTP has no use for the machine's certificates, and reading them takes longer than most questions.
            verify=not self.url.startswith("http:"),
            headers={"Authorization": f"Bearer {token or place.token()}"},
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        return self._read(self._send("GET", path, params=params))

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._read(self._send("POST", path, json=body))

    def post_contract(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post where 400 is an answer with documented fields, not an error."""
        response = self._send("POST", path, json=body)
        if response.status_code != 400:
            return self._read(response)
        answer = self._document(response)
        if not {"ok", "error", "details"} <= set(answer):
            raise self._not_a_hub()
        return answer

    def _send(self, method: str, path: str, **options: Any) -> "httpx.Response":
        import httpx

        try:
            return self._http.request(method, path, **options)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise errors.Unavailable(
                "hub-down", f"no hub answers at {self.url}", hint="start it with `homeostat up`"
            ) from error
        except UnicodeEncodeError as error:
            raise errors.InvalidInput("not-text", "what was typed is not UTF-8 text") from error
        except httpx.HTTPError as error:
            what = "did not answer in time" if isinstance(error, httpx.TimeoutException) else f"broke off: {error}"
            if method == "GET":
                raise errors.Unavailable("hub-lost", f"the hub at {self.url} {what}") from error
            raise errors.OutcomeUnknown(
                "hub-lost",
                f"the hub at {self.url} {what}; what was asked may have happened",
                hint="look with `homeostat proposals list`",
            ) from error

    def _read(self, response: "httpx.Response") -> dict[str, Any]:
        body = self._document(response)
        if response.is_success:
            return body
        kind = _BY_LABEL.get(str(body.get("family"))) or _BY_STATUS.get(response.status_code)
        if kind is None:
            raise self._not_a_hub()
        code = str(body.get("title") or "refused")
        hint = body.get("hint")
        told = body.get("detail") or body.get("details") or f"the hub answered {response.status_code}"
        raise kind(code, str(told), hint=str(hint) if hint else None)

    def _document(self, response: "httpx.Response") -> dict[str, Any]:
        try:
            body = response.json()
        except (ValueError, RecursionError) as error:
            if response.status_code == 503:  # its server's own word, before a call comes to the hub
                raise errors.Unavailable(
                    "hub-busy", f"the hub at {self.url} has too many callers", hint="try again in a few seconds"
                ) from error
            raise self._not_a_hub() from error
        if not isinstance(body, dict):
            raise self._not_a_hub()
        return body

    def _not_a_hub(self) -> errors.Unavailable:
        return errors.Unavailable("not-a-hub", f"what answers at {self.url} is no Homeostat hub")


def segment(identity: str) -> str:
    """Return an id that a person typed, as one segment of a path: it must not lead to another route."""
    if not _ID.fullmatch(identity):
        raise errors.NotFound("no-such-id", f"{identity[:80]!r} is nobody's id")
    return identity
