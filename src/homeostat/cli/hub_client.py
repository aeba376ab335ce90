"""Talking to the hub over HTTP, with its refusals turned back into our errors."""

from typing import TYPE_CHECKING, Any

from homeostat.cli.place import Place
from homeostat.core import errors

if TYPE_CHECKING:
    import httpx

_FAMILIES: dict[int, type[errors.HomeostatError]] = {
    400: errors.InvalidInput,
    401: errors.NotPermitted,
    403: errors.NotPermitted,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.InvalidInput,
    429: errors.Unavailable,
    503: errors.Unavailable,
}


class HubClient:
    """One hub. Every method raises the error that the hub answered with, or `Unavailable`."""

    def __init__(self, place: Place, *, token: str | None = None, timeout_s: float = 120.0) -> None:
        import httpx  # takes a quarter of a second to import: only where a hub is called

        self.url = place.hub_url()
        self._http = httpx.Client(
            base_url=self.url,
            timeout=timeout_s,
            trust_env=False,
            headers={"Authorization": f"Bearer {token or place.token()}"},
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **params: str | int) -> Any:
        return self._call("GET", path, params=params)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", path, json=body)

    def post_contract(self, path: str, body: dict[str, Any]) -> Any:
        """Post where 400 is an answer with documented fields, not an error."""
        response = self._send("POST", path, json=body)
        return response.json() if response.status_code == 400 else self._read(response)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        return self._read(self._send(method, path, **options))

    def _send(self, method: str, path: str, **options: Any) -> "httpx.Response":
        import httpx

        try:
            return self._http.request(method, path, **options)
        except httpx.ConnectError as error:
            raise errors.Unavailable(
                "hub-down", f"no hub answers at {self.url}", hint="start it with `homeostat up`"
            ) from error
        except httpx.TimeoutException as error:
            raise errors.OutcomeUnknown(
                "hub-slow", f"the hub at {self.url} did not answer in time", hint="look with `homeostat proposals list`"
            ) from error
        except httpx.HTTPError as error:
            raise errors.OutcomeUnknown("hub-lost", f"the connection to {self.url} broke: {error}") from error

    def _read(self, response: "httpx.Response") -> Any:
        try:
            body = response.json()
        except ValueError as error:
            raise errors.Unavailable("not-a-hub", f"what answers at {self.url} is no Homeostat hub") from error
        if response.is_success:
            return body
        family = _FAMILIES.get(response.status_code, errors.Bug)
        code = str(body.get("title") or "refused")
        raise family(code, str(body.get("detail") or body.get("details") or body), hint=body.get("hint"))
