"""The front door: what happens to every request, whatever its route.

Outside in: a request id; card numbers refused in path, query and headers; the handler; refusals and
failures turned into problems; the headers that every answer has; one count. No line is logged for a
request that was answered as it should be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import uuid_utils
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from gateway.authentication import MERCHANT, Authentication, Merchant, Operator
from gateway.bodies import BODY, PAN_PROBLEM
from gateway.card_search import has_card_number
from gateway.openapi.declarations import Access, Declaration, declaration_of
from gateway.problems import Code, Problem, problem_response
from gateway.request_log import RequestLog
from payments.answer import API_VERSION, API_VERSIONS
from payments.identity import LETTERS
from runtime.direct_serving import AiohttpHandler
from runtime.lined_responses import LinedResponse
from runtime.logs import get_logger
from runtime.metrics import GATEWAY_ANSWERS, GATEWAY_PROBLEMS, Metrics

HEADER_REQUEST_ID = "Request-Id"
HEADER_VERSION = "Tallystick-Version"
HEADER_IDEMPOTENCY_KEY = "Idempotency-Key"
SERVER_NAME = "tallystick"

_LINES_OF_ALL = f"\r\n{HEADER_VERSION}: {API_VERSION}\r\n{hdrs.SERVER}: {SERVER_NAME}\r\n"

REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
_FAILED: web.RequestKey[tuple[str, float]] = web.RequestKey("failed", tuple)
"""Route and begin of a request whose handler raised."""

Answer = web.StreamResponse | Problem
"""A stream is prepared, and so has the headers of ``finish``, before it is answered."""
Handler = Callable[[web.Request], Awaitable[Answer]]
MerchantHandler = Callable[[web.Request, Merchant], Awaitable[Answer]]
OperatorHandler = Callable[[web.Request, Operator], Awaitable[Answer]]

# Of bytes: a text is translated in a third of the time so.
_HEX_TO_LETTERS = bytes.maketrans(b"0123456789abcdef", LETTERS.encode())
# aiohttp's own refusals, by status.
_BY_STATUS = {
    404: Problem(
        code=Code.NOT_FOUND, detail="The API has no such path: /docs shows those that it has."
    ),
    405: Problem(code=Code.METHOD_NOT_ALLOWED, detail="See the Allow header for the methods here."),
    413: Problem(code=Code.BODY_TOO_LARGE, detail="The body is over the limit."),
    417: Problem(code=Code.EXPECTATION_FAILED, detail="Only Expect: 100-continue is understood."),
}
MALFORMED = Problem(
    code=Code.REQUEST_MALFORMED, detail="The request's head or body can't be read as HTTP/1.1."
)
INTERNAL_ERROR = Problem(
    code=Code.INTERNAL_ERROR,
    detail=(
        "This is our fault. Retrying with the same Idempotency-Key is safe; if it goes on, tell us"
        " the request id."
    ),
)
_VERSION_UNKNOWN = Problem(
    code=Code.VERSION_UNKNOWN,
    detail=f"Known versions: {', '.join(sorted(API_VERSIONS))}.",
    param=f"header:{HEADER_VERSION}",
)


def new_request_id() -> str:
    """Return ``req_`` and 32 letters, rising with time: no digits, so no card number by chance."""
    letters = uuid_utils.uuid7().hex.encode().translate(_HEX_TO_LETTERS)
    return f"req_{letters.decode()}"


class Door:
    """Wraps handlers, and answers what never reaches one."""

    def __init__(
        self,
        authentication: Authentication,
        metrics: Metrics,
        request_log: RequestLog | None = None,
    ) -> None:
        self._authentication = authentication
        self._request_log = request_log
        self._metrics = metrics
        self._log = get_logger("gateway.door")
        self._answers: Counter[tuple[str, int]] = Counter()
        self.declared: dict[AiohttpHandler, tuple[Access, Declaration | None]] = {}
        """By wrapped handler: who may call it, and what is declared of it (``gateway.openapi``)."""
        metrics.read(
            GATEWAY_ANSWERS,
            lambda: [
                ((route, str(status)), count) for (route, status), count in self._answers.items()
            ],
        )

    def public(self, handler: Handler) -> AiohttpHandler:
        """Return the handler of a route without authentication."""

        async def handle(request: web.Request) -> web.StreamResponse:
            answer = await handler(request)
            return self._response(answer, request)

        self.declared[handle] = (Access.PUBLIC, declaration_of(handler))
        return handle

    def merchant(self, handler: MerchantHandler) -> AiohttpHandler:
        """Return the handler of a route that acts for a merchant."""

        async def handle(request: web.Request) -> web.StreamResponse:
            # One coroutine for all of it: whatever resumes the request goes through each that it waits in.
            header = _authorization(request)
            authentication = self._authentication
            merchant = authentication.proven(header) or await authentication.merchant(header)
            answer: Answer
            if isinstance(merchant, Problem):
                answer = merchant
            elif not _is_version_known(request):
                answer = _VERSION_UNKNOWN
            else:
                request[MERCHANT] = merchant
                answer = await handler(request, merchant)
            if answer is PAN_PROBLEM:
                request.pop(BODY, None)
            return self._response(answer, request)

        self.declared[handle] = (Access.MERCHANT, declaration_of(handler))
        return handle

    def operator(self, handler: OperatorHandler) -> AiohttpHandler:
        """Return the handler of a route that only operators may use."""

        async def handle(request: web.Request) -> web.StreamResponse:
            answer = await self._for_operator(request, handler)
            return self._response(answer, request)

        self.declared[handle] = (Access.OPERATOR, declaration_of(handler))
        return handle

    def middleware(self) -> Middleware:
        """Return the one middleware around all routes, those that don't exist included."""

        @web.middleware
        async def pass_through(request: web.Request, handler: AiohttpHandler) -> web.StreamResponse:
            resource = request.match_info.route.resource
            route = "none" if resource is None else resource.canonical
            return await self._passed_through(request, handler, route)

        return pass_through

    def direct(self, handler: MerchantHandler, route: str) -> AiohttpHandler:
        """Return a merchant's handler with everything around it, to be called without the router.

        For the route that nearly every request takes: finding it again each time, and walking the
        layers of the application around it, costs a tenth of the request.
        """
        return partial(self._passed_through, handler=self.merchant(handler), route=route)

    async def _passed_through(
        self, request: web.Request, handler: AiohttpHandler, route: str
    ) -> web.StreamResponse:
        request_id = new_request_id()
        request[REQUEST_ID] = request_id
        log = self._request_log
        began_s = 0.0 if log is None else log.began_s()
        response: web.StreamResponse
        try:
            if has_card_number(request):
                response = self._refused(PAN_PROBLEM, request_id)
            else:
                response = await handler(request)
        except web.HTTPException as refusal:
            response = self.of_refusal(refusal, request_id)
        except web.RequestPayloadError:
            response = self._refused(MALFORMED, request_id)
            response.force_close()
        except Exception:
            request[_FAILED] = (route, began_s)
            raise
        finish(response, request_id)
        self._answers[route, response.status] += 1
        if log is not None:
            log.note(request, response, request_id=request_id, route=route, began_s=began_s)
        return response

    def of_refusal(self, refusal: web.HTTPException, request_id: str) -> web.Response:
        """Return the problem of a refusal by aiohttp itself."""
        problem = _BY_STATUS.get(refusal.status, MALFORMED)
        response = self._refused(problem, request_id)
        if hdrs.ALLOW in refusal.headers:
            response.headers[hdrs.ALLOW] = refusal.headers[hdrs.ALLOW]
        return response

    def of_failure(
        self, request: web.BaseRequest, status: int, defect: BaseException | None
    ) -> web.Response:
        """Return the answer where neither handler nor middleware could: the server asks for it.

        A defect is logged, once, and its answer says nothing about it. What was no HTTP request at
        all is not logged: it is the client's affair, and may hold anything.
        """
        request_id = request.get(REQUEST_ID) or new_request_id()
        is_ours = status >= 500
        if is_ours:
            self._log.error("request_failed", request_id=request_id, exc_info=defect)
        response = self._refused(INTERNAL_ERROR if is_ours else MALFORMED, request_id)
        finish(response, request_id)
        self._answers["failed" if is_ours else "unreadable", response.status] += 1
        failed = request.get(_FAILED)
        if (
            self._request_log is not None
            and failed is not None
            and isinstance(request, web.Request)
        ):
            route, began_s = failed
            self._request_log.note(
                request, response, request_id=request_id, route=route, began_s=began_s
            )
        return response

    async def _for_operator(self, request: web.Request, handler: OperatorHandler) -> Answer:
        operator = await self._authentication.operator(_authorization(request))
        if isinstance(operator, Problem):
            return operator
        return await handler(request, operator)

    def _response(self, answer: Answer, request: web.Request) -> web.StreamResponse:
        if isinstance(answer, Problem):
            return self._refused(answer, request[REQUEST_ID])
        return answer

    def _refused(self, problem: Problem, request_id: str) -> web.Response:
        self._metrics.counter(GATEWAY_PROBLEMS, problem.code.wire).inc()
        return problem_response(problem, request_id)


def _authorization(request: web.Request) -> str | None:
    # Two keys at once, joined as RFC 9110 joins repeated headers, are no key: nobody picks one.
    claims = request.headers.getall(hdrs.AUTHORIZATION, [])
    return ", ".join(claims) if claims else None


def _is_version_known(request: web.Request) -> bool:
    # Two versions at once are none, even where both are known: nobody picks one.
    wanted = request.headers.getall(HEADER_VERSION, None)
    return wanted is None or (len(wanted) == 1 and wanted[0] in API_VERSIONS)


def finish(response: web.StreamResponse, request_id: str) -> None:
    """Set the headers that every answer has."""
    if isinstance(response, LinedResponse):
        response.add_lines(f"{HEADER_REQUEST_ID}: {request_id}{_LINES_OF_ALL}")
        return
    headers = response.headers
    headers[HEADER_REQUEST_ID] = request_id
    headers[HEADER_VERSION] = API_VERSION
    headers[hdrs.SERVER] = SERVER_NAME
