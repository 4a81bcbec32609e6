"""What stands before the views: who comes, and what becomes of what is refused."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from messaging.api import NexusError
from nexus_api.problems import answer_error, answer_problem
from nexus_live.access import Visitor
from nexus_live.sharing import read_link

View = Callable[..., HttpResponseBase]
LOGIN = reverse_lazy("nexus_live:login")


def visitor_of(request: HttpRequest, token: str | None) -> Visitor:
    """Who comes: by a link, or logged in.

    Raises:
        Http404: the link holds no longer, or never did.
        PermissionDenied: nobody is logged in.
    """
    if token is not None:
        link = read_link(token)
        if link is None:
            raise Http404("This link does not hold, or holds no longer.")
        return Visitor(link=link)
    if not request.user.is_authenticated:
        raise PermissionDenied("Log in again.")
    return Visitor(user=request.user)


def wants_json(request: HttpRequest) -> bool:
    """Whether a script asks, and no form."""
    return "application/json" in request.headers.get("Accept", "")


def page(view: View) -> View:
    """A page for those who are logged in."""
    return login_required(require_safe(never_cache(view)), login_url=LOGIN)


def feeding(view: View) -> View:
    """A view that a page's script reads: what is refused has a status and no page."""

    @require_safe
    @never_cache
    @functools.wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except NexusError as error:
            return answer_error(error, request.path)
        except PermissionDenied:
            return answer_problem(403, "not-authenticated", "Log in again.")
        except Http404:
            return answer_problem(404, "not-found", "There is no such workflow, or none that you may see.")

    return answer


def act(view: Callable[..., str]) -> View:
    """A view that does something in a workflow and returns what to tell: JSON to the script, else the page again."""

    @functools.wraps(view)
    def answer(request: HttpRequest, workflow_id: UUID, **kwargs: Any) -> HttpResponse:
        asked_by_script = wants_json(request)
        try:
            told = view(request, workflow_id, **kwargs)
        except NexusError as error:
            if asked_by_script:
                return answer_error(error, request.path)
            messages.error(request, str(error))
        except PermissionDenied as error:
            if asked_by_script:
                return answer_problem(403, "missing-permission", str(error))
            raise
        else:
            if asked_by_script:
                return JsonResponse({"detail": told})
            messages.success(request, told)
        return redirect("nexus_live:page", workflow_id=workflow_id)

    return login_required(require_POST(answer), login_url=LOGIN)
