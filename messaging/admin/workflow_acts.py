"""Pages on which an operator says more than yes: fork after which message, leave one out and why, export as what."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from messaging.admin.operating import OperatedAdmin, actor_of
from messaging.core.errors import NexusError
from messaging.models import Delivery, Message, Workflow
from messaging.operators.acts import record
from messaging.operators.exporting import export_json
from messaging.operators.forking import fork
from messaging.operators.mending import skip_message
from messaging.operators.recreating import export_test

MAX_REASON = 500


class ReasonForm(forms.Form):
    """Why."""

    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON,
        label="Reason, for whoever looks at it later",
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )


class ForkForm(ReasonForm):
    """Where, and whether it goes on by itself."""

    after = forms.IntegerField(min_value=1, max_value=2**31, label="After message number")
    run = forms.BooleanField(required=False, label="Let it go on at once; otherwise it is paused until it is resumed")
    field_order = ("after", "run", "reason")


class WorkflowActs(OperatedAdmin):
    """The URLs below a workflow's page."""

    def get_urls(self) -> list[URLPattern]:
        """With those of the acts."""

        view = self.admin_site.admin_view
        return [
            path("<uuid:workflow_id>/fork/", view(self.fork_view), name="nexus_workflow_fork"),
            path("<uuid:workflow_id>/export/", view(self.export_view), name="nexus_workflow_export"),
            path("<uuid:workflow_id>/skip/<uuid:delivery_id>/", view(self.skip_view), name="nexus_workflow_skip"),
            *super().get_urls(),
        ]

    def fork_view(self, request: HttpRequest, workflow_id: UUID) -> HttpResponseBase:
        """Ask after which message, then fork and show the fork."""
        workflow = self._operated(request, workflow_id)
        form = ForkForm(
            request.POST if request.method == "POST" else None,
            initial={"after": request.GET.get("after", workflow.sequence or 1)},
        )
        if request.method == "POST" and form.is_valid():
            chosen, actor = form.cleaned_data, actor_of(request)
            try:
                made = fork(workflow.pk, after=chosen["after"], actor=actor, reason=chosen["reason"], run=chosen["run"])
            except NexusError as error:
                form.add_error(None, str(error))
            else:
                self.log_change(request, workflow, f"Forked after #{made.after}: {made.workflow}.")
                self.log_change(
                    request, Workflow.objects.get(pk=made.workflow), f"Forked from {workflow.pk} after #{made.after}."
                )
                self.message_user(request, f"Forked after #{made.after}; {made.waiting} deliveries are handled anew.")
                if made.without_state:
                    self.message_user(
                        request,
                        "What these agents remembered then is not known any more, they begin anew: "
                        + ", ".join(made.without_state),
                        messages.WARNING,
                    )
                return self._to_page(made.workflow)
        return self._ask(
            request,
            workflow,
            form,
            title="Fork",
            button="Fork",
            consequence="A second workflow begins with the messages up to this one, signed anew under its own id. What "
            "had been handled by then counts as handled; the rest is handled anew, with all its effects. This workflow "
            "stays as it is.",
        )

    def skip_view(self, request: HttpRequest, workflow_id: UUID, delivery_id: UUID) -> HttpResponseBase:
        """Ask why, then leave the message out."""
        workflow = self._operated(request, workflow_id)
        delivery = Delivery.objects.filter(pk=delivery_id, workflow=workflow).first()
        message = None if delivery is None else Message.objects.defer("envelope").filter(pk=delivery.message_id).first()
        if delivery is None or message is None:
            raise Http404(f"Workflow {workflow_id} has no delivery {delivery_id}.")
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                skip_message(delivery.pk, actor=actor_of(request), reason=form.cleaned_data["reason"])
            except NexusError as error:
                form.add_error(None, str(error))
            else:
                self.log_change(request, workflow, f"Skipped #{message.sequence} for {delivery.agent}.")
                self.message_user(request, f"{delivery.agent} goes on without #{message.sequence}.", messages.SUCCESS)
                return self._to_page(workflow.pk)
        return self._ask(
            request,
            workflow,
            form,
            title="Skip a message",
            button=f"Skip #{message.sequence} for {delivery.agent}",
            consequence=f"{delivery.agent} never handles {message}, and goes on with what comes behind it. A discarded "
            "dead letter says so. This cannot be undone.",
            danger=True,
        )

    def export_view(self, request: HttpRequest, workflow_id: UUID) -> HttpResponseBase:
        """The workflow as a file, for those who may read its messages."""
        workflow = Workflow.objects.filter(pk=workflow_id).first()
        if not request.user.has_perms(("nexus.view_workflow", "nexus.view_message")):
            raise PermissionDenied
        if workflow is None:
            raise Http404(f"There is no workflow {workflow_id}.")
        if request.method != "GET":
            return HttpResponseNotAllowed(["GET"])
        answer: HttpResponseBase
        if request.GET.get("format") == "test":
            try:
                answer = HttpResponse(export_test(workflow), content_type="text/x-python; charset=utf-8")
            except NexusError as error:
                self.message_user(request, str(error), messages.ERROR)
                return self._to_page(workflow.pk)
            name = f"test_workflow_{workflow.short_id}.py"
        else:
            answer = StreamingHttpResponse(export_json(workflow), content_type="application/json")
            name = f"workflow_{workflow.short_id}.json"
        record(actor_of(request), "export", Workflow, workflow.pk, after={"file": name})
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer

    def _operated(self, request: HttpRequest, workflow_id: UUID) -> Workflow:
        """The workflow, for those who may change what becomes of it."""
        if not (self.has_view_permission(request) and self.has_operate_permission(request)):
            raise PermissionDenied
        workflow = Workflow.objects.filter(pk=workflow_id).first()
        if workflow is None:
            raise Http404(f"There is no workflow {workflow_id}.")
        return workflow

    def _ask(
        self, request: HttpRequest, workflow: Workflow, form: forms.Form, *, danger: bool = False, **texts: str
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "flow": workflow,
            "form": form,
            "danger": danger,
            **texts,
        }
        return TemplateResponse(request, "admin/nexus/workflow/act.html", context)

    def _to_page(self, workflow_id: UUID) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("admin:nexus_workflow_change", args=[workflow_id]))
